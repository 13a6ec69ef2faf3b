// SPDX-License-Identifier: Apache-2.0
//
// Which operations between codes and codes are computed in whole numbers. Pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "net/engine/codes.h"
#include "net/engine/fusion.h"

namespace nibble::net_engine {

// What becomes of sums: code - zero within low .. high. zero: of the byte.
struct CodeLimits {
  float low = 0, high = 0, zero = 0;
};

// A convolution or Linear of codes whose results are codes: bytes of x times weights, exactly, + bias, times the factor
// of an output and + its offset, rounded.
struct CodeProduct {
  const Node* product = nullptr;
  ValueId x = 0;                     // codes
  std::uint8_t x_zero = 0;           // the byte that stands for 0
  std::vector<std::int8_t> weights;  // [outputs, row]
  std::vector<std::int32_t> bias;    // of each output, less the products of x_zero
  std::vector<float> factors, offsets;
  CodeLimits limits;
};

// Of two values of one shape.
struct CodeSum {
  ValueId a = 0, b = 0;
  CodeGrid a_grid, b_grid, y_grid;  // of bytes
  CodeLimits limits;
};

// Any function of one code.
struct CodeTable {
  ValueId x = 0;
  std::array<std::uint8_t, 256> bytes{};
};

using CodeFusion = std::variant<CodeProduct, CodeSum, CodeTable>;

// What ends in a Quantize; nothing: it is computed as it is drawn. absorbed: as of float_fusion.
std::optional<CodeFusion> code_fusion(const Net& net, const Readers& readers, const CodeValues& values, const Node& end,
                                      std::vector<bool>& absorbed);

}  // namespace nibble::net_engine
