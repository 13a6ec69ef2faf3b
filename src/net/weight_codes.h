// SPDX-License-Identifier: Apache-2.0
//
// Codes that the numbers of a net's weights stand on. Plain values.
//
//   const NetCodes codes = weight_codes_of(open_net("net8.onnx", {}));
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "net/net.h"

namespace nibble {

// A part seen as a matrix [rows, cols]: number = scale of its row * code.
struct WeightCodes {
  unsigned bits = 8;  // that hold the codes with their signs; 1: codes are -1 and 1
  std::uint64_t rows = 0;
  std::vector<std::int8_t> codes;
  std::vector<float> scales;   // by row
  bool has_one_scale = false;  // all of them are the same, and files have it once
  bool is_dynamic = false;     // what they multiply is rounded when the net runs, by its range then

  std::uint64_t cols() const { return rows == 0 ? 0 : codes.size() / rows; }
  // As files have them: by row, or one.
  std::span<const float> stored_scales() const { return std::span(scales).first(has_one_scale ? 1 : scales.size()); }
};

using NetCodes = std::map<std::string, WeightCodes, std::less<>>;  // by part

// Of a net that is rounded already: weights of 8 bits and a sign that products of codes multiply, -127 .. 127.
NetCodes weight_codes_of(const Net& net);

}  // namespace nibble
