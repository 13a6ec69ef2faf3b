// SPDX-License-Identifier: Apache-2.0
//
// Operations with weights over a batch of samples, by dense products. Internal to train/net.
#pragma once

#include "train/net/batch_node.h"

namespace nibble {

void evaluate_batch(const Linear& op, const BatchNode& node, std::span<float> output, Machine& machine);
void evaluate_batch(const Convolution& op, const BatchNode& node, std::span<float> output, Machine& machine);
void add_gradients(const Linear& op, const BatchNode& node, const BatchGradients& into, Machine& machine);
void add_gradients(const Convolution& op, const BatchNode& node, const BatchGradients& into, Machine& machine);
void add_gradients(const TransposedConvolution& op, const BatchNode& node, const BatchGradients& into,
                   Machine& machine);
// By the mean and the variance that are stored.
void add_gradients(const BatchNorm& op, const BatchNode& node, const BatchGradients& into, Machine& machine);
void add_gradients(const LayerNorm& op, const BatchNode& node, const BatchGradients& into, Machine& machine);

}  // namespace nibble
