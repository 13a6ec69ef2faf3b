// SPDX-License-Identifier: Apache-2.0
//
// What stands before the weights in a GGUF file (versions 2 and 3): metadata and the list of tensors, judged by every
// rule of the specification and of ggml's own reader (gguf.cpp). Nothing is copied but names and metadata. Safe from
// any thread.
//
//   const GgufHeader header = parse_gguf(file.bytes(), "model.gguf");
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/gguf/ggml_type.h"
#include "io/gguf/gguf_value.h"
#include "tensor/tensor.h"

namespace nibble {

inline constexpr std::uint32_t kGgufDefaultAlignment = 32;
inline constexpr std::size_t kGgufMaxName = 63;  // bytes of a tensor's name
inline constexpr std::size_t kGgufMaxDimensions = 4;
inline constexpr std::size_t kGgufMaxKey = 65535;

struct GgufTensorInfo {
  std::string name;
  Shape shape;                     // outermost first, at least one dimension, no leading 1s beyond it
  const GgmlType* type = nullptr;  // never null
  std::uint64_t offset = 0;        // in the file
  std::uint64_t bytes = 0;         // without padding
};

struct GgufHeader {
  std::uint32_t version = 3;
  GgufMetadata metadata;
  std::vector<GgufTensorInfo> tensors;
  std::uint64_t alignment = kGgufDefaultAlignment;
  std::uint64_t data_offset = 0;
};

// bytes: the whole file; source: its name in messages. Error(corrupt) or Error(unsupported) names file, key or tensor,
// and offset.
GgufHeader parse_gguf(std::span<const std::byte> bytes, const std::string& source);

// The value of general.alignment, or the default. Error(corrupt): not a u32 that is a power of two.
std::uint32_t gguf_alignment(const GgufMetadata& metadata, const std::string& source);

}  // namespace nibble
