// SPDX-License-Identifier: Apache-2.0
//
// Well-formed UTF-8 as the Unicode standard defines it (table 3-7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nibble {

// Offset of the first byte that is not part of well-formed UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text) noexcept;

// Each maximal subpart of an ill-formed sequence becomes U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

// Decodes one code point of well-formed text at `offset` and moves it on.
char32_t next_code_point(std::string_view text, std::size_t& offset) noexcept;

void append_utf8(std::string& text, char32_t code_point);

}  // namespace nibble
