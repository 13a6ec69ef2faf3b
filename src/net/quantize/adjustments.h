// SPDX-License-Identifier: Apache-2.0
//
// What a net can be given so that rounding it costs less, without other operations.
#pragma once

#include <span>

#include "net/quantize/sample_walk.h"

namespace nibble {

// Weights of channels that one layer makes and the next reads are scaled against each other until both have the same
// range, which leaves the net's function as it is (Nagel et al., Data-Free Quantization Through Weight Equalization and
// Bias Correction, arXiv:1906.04721, section 4.1). Between the two may stand what passes positive factors on: a Relu, a
// pooling. Returns how many pairs there are.
std::size_t equalize(Net& net);
// Of the net as it was or as it is: the values whose channels are scaled so, which then are others than those before.
std::vector<ValueId> equalized_values(const Net& net);

// Every convolution and Linear that does not share its weights gets a bias, of zeros.
void give_biases(Net& net);
// Those that are zeros still.
void drop_zero_biases(Net& net);

// Biases by which the mean of each channel that a layer makes is what it is in f32, the layers before it being rounded
// and corrected already (the same paper, section 4.2, by samples). weights: rounded ones, which are joined by biases.
// Layers without a bias keep theirs.
void correct_biases(const Net& net, std::span<const NetSample> samples, const ValueGrids& grids, NumbersByPart& weights,
                    Machine& machine);

}  // namespace nibble
