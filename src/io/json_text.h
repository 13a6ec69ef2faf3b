// SPDX-License-Identifier: Apache-2.0
//
// JSON from untrusted files (config.json, shard indices): UTF-8, at most 64 levels deep, no key twice in one object. Safe from any thread.
//
//   const auto config = parse_json(text, "model/config.json");
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace nibble {

// Keeps the order of keys. Error(corrupt) names source and byte offset.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& source);

}  // namespace nibble
