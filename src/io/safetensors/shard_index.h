// SPDX-License-Identifier: Apache-2.0
//
// model.safetensors.index.json: which shard holds which tensor. Safe from any thread.
//
//   const ShardIndex index = parse_shard_index(text, "model/model.safetensors.index.json");
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace nibble {

struct ShardIndex {
  std::map<std::string, std::string, std::less<>> weight_map;  // tensor -> file beside the index
};

// Error(corrupt): no object "weight_map" of strings, or a file name that leaves the directory.
ShardIndex parse_shard_index(std::string_view text, const std::string& source);

}  // namespace nibble
