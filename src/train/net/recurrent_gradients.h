// SPDX-License-Identifier: Apache-2.0
//
// Cells that recur, walked backwards through time: every step's gates are worked out anew from the states that were
// stored. Coefficients (peepholes) get no gradients. Sums over samples are taken in shards, which are added in order.
// Internal to train/net.
#pragma once

#include "train/net/batch_node.h"

namespace nibble {

// made: what evaluate_batch gave.
void add_gradients(const Gru& op, const BatchNode& node, std::span<const float> made, const BatchGradients& into,
                   Machine& machine);
void add_gradients(const Lstm& op, const BatchNode& node, std::span<const float> made, const BatchGradients& into,
                   Machine& machine);

}  // namespace nibble
