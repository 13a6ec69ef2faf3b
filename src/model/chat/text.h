// SPDX-License-Identifier: Apache-2.0
//
// Texts as Python treats them: counted and cut by code points, white space and cases of all scripts. UTF-8 throughout.
// Safe from any thread.
//
//   slice_text("naïve", 0, 3) == "naï"
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::chat {

class Rendering;

bool is_space(char32_t c);
std::size_t count_code_points(std::string_view text);
// The bytes of the code point at `at`, which moves behind it.
std::string_view take_code_point(std::string_view text, std::size_t& at);
std::vector<std::string_view> code_points(std::string_view text);  // each by its bytes
// Code points [begin, end), both at most the text's length.
std::string_view slice_text(std::string_view text, std::size_t begin, std::size_t end);

enum class Side { both, left, right };
std::string_view strip_space(std::string_view text, Side side = Side::both);
// Any of the code points in `which`.
// What strip_of() takes for a set so large. Fault(limit).
void pay_for_stripping(Rendering& rendering, std::string_view which);
std::string_view strip_of(std::string_view text, std::string_view which, Side side = Side::both);

// The offset of `what` at or after `begin`, or npos; in time that grows with the sum of both lengths.
std::size_t find_text(std::string_view text, std::string_view what, std::size_t begin = 0);
// Fault(limit) where find_text() has no room for what it notes of a long `what`.
void expect_search(const Rendering& rendering, std::string_view what);
std::string replace_text(std::string_view text, std::string_view what, std::string_view by, std::int64_t most);
// Parts are given one at a time, as they are found: from the right the last one first. most: how many cuts at most, -1
// for any number. `separator` is not empty.
using TakePart = std::function<void(std::string_view)>;
void split_text(std::string_view text, std::string_view separator, std::int64_t most, const TakePart& take);
void split_text_from_right(std::string_view text, std::string_view separator, std::int64_t most, const TakePart& take);
void split_space(std::string_view text, std::int64_t most, const TakePart& take);
void split_space_from_right(std::string_view text, std::int64_t most, const TakePart& take);
void split_lines(std::string_view text, bool keeps_ends, const TakePart& take);

// By the simple mappings of Unicode, and "ß" to "SS".
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);
// Each run of letters begins with a capital.
std::string to_title(std::string_view text);

enum class Letters { alpha, alnum, digit, numeric, decimal, space, lower, upper };
// As Python's isalpha() and the like: false for an empty text.
bool consists_of(std::string_view text, Letters which);

std::string escape_html(std::string_view text);

// "1.5e3", "-.5", "+5.", "inf", "nan" whatever the locale; what no double holds is infinity or 0. None for other texts.
std::optional<double> read_decimal(std::string_view text);

}  // namespace nibble::chat
