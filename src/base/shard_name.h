// SPDX-License-Identifier: Apache-2.0
//
// The names of files that a model is split over: "PREFIX-00002-of-00005.ENDING". Pure functions, safe from any thread.
//
//   auto shard = parse_shard_name("m-00001-of-00003.gguf");   // "m", 1, 3, ".gguf"
//   shard->number = 2;
//   shard_name(*shard);                                       // "m-00002-of-00003.gguf"
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

inline constexpr std::uint64_t kMostShards = 99999;  // five digits

struct ShardName {
  std::string prefix;
  std::uint64_t number = 0, count = 0;  // number: from 1 to count
  std::string ending;                   // from the dot on; empty: none
};

// Nothing for names of another form, and for numbers that are not of so many.
std::optional<ShardName> parse_shard_name(std::string_view name);

// count is at most kMostShards.
std::string shard_name(const ShardName& shard);

}  // namespace nibble
