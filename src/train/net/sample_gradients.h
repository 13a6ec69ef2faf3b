// SPDX-License-Identifier: Apache-2.0
//
// Gradients of one sample, of operations without weights. Slopes of operations that count or compare are 0. Pure
// functions; internal to train/net.
#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"

namespace nibble {

struct SampleGradient {
  std::span<const Dimensions> shapes;  // of the inputs
  std::vector<std::span<const float>> inputs;
  std::span<const float> made, by_made;
  std::vector<std::span<float>> by_inputs;  // added to; empty: nobody asks
};

void add_gradient(const Unary& op, const SampleGradient& g);
void add_gradient(const Binary& op, const SampleGradient& g);
void add_gradient(const Select& op, const SampleGradient& g);
void add_gradient(const Pooling& op, const SampleGradient& g);
void add_gradient(const Reduce& op, const SampleGradient& g);
void add_gradient(const Softmax& op, const SampleGradient& g);
void add_gradient(const MatrixProduct& op, const SampleGradient& g);

}  // namespace nibble
