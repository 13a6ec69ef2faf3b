// SPDX-License-Identifier: Apache-2.0
//
// Which values of a net are codes of 8 bits, and what they stand for. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "net/engine/fusion.h"
#include "net/net.h"

namespace nibble::net_engine {

// What codes stand for: (code - zero) * scale, one of each for a whole value.
struct CodeGrid {
  float scale = 1, zero = 0;
  bool operator==(const CodeGrid&) const = default;
};

// Codes -128 .. 127 are kept as bytes 128 further up, others as they are.
struct CodeValues {
  explicit CodeValues(const Net& net);
  bool is_code(ValueId value) const { return shifts[value] >= 0; }
  float shift(ValueId value) const { return static_cast<float>(shifts[value]); }

  std::vector<std::int16_t> shifts;  // by value; -1: no codes
};

// Of a value that is stored; empty: it is none.
std::span<const float> stored_numbers(const Net& net, const Readers& readers, ValueId value);
// Of a Quantize or Dequantize whose scale and zero are stored, one each; nothing: they are not.
std::optional<CodeGrid> grid_of(const Net& net, const Readers& readers, const Node& node);

// What only moves numbers, and the largest of windows, behind a Dequantize goes before it: the same numbers, and codes
// are moved in their place. A Quantize behind a Dequantize of the same grid is left out. Weights that are stored values
// become those of Linears. A net computes the same afterwards, to the bit.
void bring_codes_together(Net& net);

// Weights [outputs, row] as whole numbers from -128 to 127 times a scale for each output; nothing: they are no such
// numbers. What f32 rounded when they were multiplied is allowed for.
struct CodedWeights {
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
};
std::optional<CodedWeights> coded_weights(std::span<const float> weights, std::size_t outputs);

}  // namespace nibble::net_engine
