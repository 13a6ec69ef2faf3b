// SPDX-License-Identifier: Apache-2.0
//
// Codes that the numbers of a net's weights stand on. Plain values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nibble {

// A part seen as a matrix [rows, cols]: number = scale of its row * code, of so many bits and a sign.
struct WeightCodes {
  unsigned bits = 8;
  std::uint64_t rows = 0;
  std::vector<std::int8_t> codes;
  std::vector<float> scales;  // by row

  std::uint64_t cols() const { return rows == 0 ? 0 : codes.size() / rows; }
};

using NetCodes = std::map<std::string, WeightCodes, std::less<>>;  // by part

}  // namespace nibble
