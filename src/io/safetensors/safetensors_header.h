// SPDX-License-Identifier: Apache-2.0
//
// The header of a safetensors file, judged by every rule of its specification and reference reader (README "Format",
// tensor.rs). Safe from any thread.
//
//   const SafetensorsHeader header = parse_safetensors(file.bytes(), "model.safetensors");
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace nibble {

inline constexpr std::uint64_t kSafetensorsMaxHeader = 100'000'000;
inline constexpr std::size_t kSafetensorsMaxTensors = std::size_t{1} << 20;  // limits of this reader
inline constexpr std::size_t kSafetensorsMaxRank = 8;

struct SafetensorsEntry {
  std::string name;
  std::string_view type_name;  // "BF16": one of the names of the specification, also those that DType lacks
  Shape shape;
  std::uint64_t offset = 0, bytes = 0;  // in the file
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;  // __metadata__
  std::vector<SafetensorsEntry> entries;        // in file order
};

// bytes: the whole file; source: its name in messages. Error(corrupt) names file, tensor and offset.
SafetensorsHeader parse_safetensors(std::span<const std::byte> bytes, const std::string& source);

}  // namespace nibble
