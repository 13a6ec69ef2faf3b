// SPDX-License-Identifier: Apache-2.0
//
// Arrays as NumPy stores them: .npy, and .npz, an archive of several that is not compressed. Numbers are read as f32.
// Pure functions, safe from any thread.
//
//   const NpyArray x = parse_npy(file.bytes(), "x.npy");
//   output.write(serialize_npy({{1, 10}, logits}));
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace nibble {

struct NpyArray {
  Shape shape;
  std::vector<float> numbers;
  std::string type = "f4";  // as NumPy calls it: "f4", "u1", "i8", "b1"
};

// Error(corrupt): damage, by file; Error(unsupported): text, objects, complex numbers, big-endian numbers, whole
// numbers that f32 does not hold.
NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& source);
// By name, without ".npy", in the order of the archive. Error(unsupported): a compressed one, too.
std::vector<std::pair<std::string, NpyArray>> parse_npz(std::span<const std::byte> bytes, const std::string& source);
bool is_npz(std::span<const std::byte> bytes);

// Numbers are written as `type` says, whole ones rounded to the nearest.
std::string serialize_npy(const NpyArray& array);
std::string serialize_npz(const std::vector<std::pair<std::string, NpyArray>>& arrays);

}  // namespace nibble
