// SPDX-License-Identifier: Apache-2.0
//
// JSON from untrusted files (config.json, tokenizer.json, shard indices): one judgement for all of them. UTF-8, with or
// without a byte order mark, at most 64 levels deep, no key twice in one object. Numbers of any size are fine under
// keys that nobody reads: whole numbers beyond 64 bits become floating point, and what no double holds (1e999, and NaN,
// Infinity and -Infinity, which Python writes) becomes a text that no reader takes for a number or a string and that
// dump_json() writes as it was. Safe from any thread.
//
//   const auto config = parse_json(text, "model/config.json");
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

// Keeps the order of keys. Error(corrupt) names source and byte offset.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& source);

// The same judgement for callers with a parser of their own: text that any parser takes. Error(corrupt) as above.
std::string plain_json(std::string_view text, const std::string& source);

// The same for callers who say themselves where a fault is.
struct JsonFault {
  std::size_t offset = 0;  // in the text as given
  std::string what;        // "text is not JSON"
};
std::optional<JsonFault> judge_json(std::string_view text, std::string& plain);

// The text of what parse_json() gave, on one line or indented.
std::string dump_json(const nlohmann::ordered_json& json, int indent = -1);

// What a number that no double holds has become; such a text is no string.
bool is_unheld_number(std::string_view string);

}  // namespace nibble
