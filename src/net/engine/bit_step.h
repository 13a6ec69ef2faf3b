// SPDX-License-Identifier: Apache-2.0
//
// Convolutions and Linears of signs by binary or ternary weights: differing bits are counted. A row of ternary weights
// is half the sum of two rows of signs, which differ where a weight is 0. Sums are whole, and become numbers by one
// multiplication and one addition: the same bits for any number of threads and with any instruction set.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "net/engine/convolution_step.h"

namespace nibble::net_engine {

// Weights of which every row has one size: sign times scale, or 0.
struct BitWeights {
  std::vector<float> scales;  // by row
  bool is_ternary = false;    // some are 0
};
// Nothing: they are others.
std::optional<BitWeights> bit_weights(std::span<const float> weights, std::size_t rows);

struct BitViews {
  View x, y;              // x: whose signs are multiplied, without a border
  View bits, seen, sums;  // room: bit_room()
};
// Numbers of f32 that a product takes for itself: signs of an image, what each place sees of them, and sums.
struct BitRoom {
  std::size_t bits = 0, seen = 0, sums = 0;
};
BitRoom bit_room(const ProductShape& shape, const View& x, const View& y, bool is_ternary);

// shape: one group. weights and bias as of float_convolution.
struct BitProduct {
  ProductShape shape;
  BitWeights weights;
  float low = 0, high = 0;  // what the result is clipped to
};
StepPointer bit_product(const BitProduct& product, const BitViews& views, std::span<const float> weights,
                        std::span<const float> bias);

}  // namespace nibble::net_engine
