// SPDX-License-Identifier: Apache-2.0
//
// Makes a net smaller without changing what it computes, but for the rounding of f32: each pass takes one pattern, and
// tells how often it met it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "net/net.h"

namespace nibble {

// All passes, until none finds anything more.
std::vector<std::pair<std::string, std::size_t>> simplify(Net& net);

// Norms by stored means, and products with or sums of a number for each channel, into the convolution, transposed
// convolution or Linear that makes what they read.
std::size_t fold_channels(Net& net);
// The same, but for norms, which go on learning.
std::size_t fold_numbers(Net& net);
// x * hard_sigmoid(x) with 1/6 and 1/2, and x * clip(x + 3, 0, 6) / 6: hard_swish; x * sigmoid(x): silu.
std::size_t find_activations(Net& net);
// (x - mean) / sqrt(mean of its square + epsilon) over the last dimension: layer_norm.
std::size_t find_layer_norms(Net& net);

// What no output needs.
void remove_unused(Net& net);

}  // namespace nibble
