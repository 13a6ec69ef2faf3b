// SPDX-License-Identifier: Apache-2.0
//
// Tensor types of GGUF files: enough of each to say where a tensor ends, whether or not nibble can decode it.
// Source: ggml.h (enum ggml_type) and ggml-common.h (block structs) of ggml, August 2026.
//
//   const GgmlType* type = find_ggml_type(12);  // Q4_K: 256 elements in 144 bytes
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nibble {

struct GgmlType {
  std::uint32_t id;
  std::string_view name;         // "Q4_K"
  std::uint32_t block_elements;  // row lengths are multiples of this
  std::uint32_t block_bytes;
};

// All types in use, by id.
std::span<const GgmlType> list_ggml_types();
// Null for ids that are unknown or were removed.
const GgmlType* find_ggml_type(std::uint32_t id);
// Ids that old files may carry and no reader accepts any more (Q4_2, Q4_0_4_4, ...).
bool is_removed_ggml_type(std::uint32_t id);
// What a type is that find_ggml_type() does not know, and what to do: "type was removed from the format; ...", "unknown
// type".
std::string describe_unknown_ggml_type(std::uint32_t id);

}  // namespace nibble
