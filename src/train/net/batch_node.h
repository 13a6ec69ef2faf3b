// SPDX-License-Identifier: Apache-2.0
//
// One operation of a small net over a batch of samples, forwards and backwards. Values hold the samples one after the
// other, each of the shape that the net's drawing says; a value that follows from stored numbers alone stands once for
// all. Products run by the kernels of dense algebra, the rest sample by sample. Sums over samples are taken in a fixed
// order: the same bits for any number of threads.
//
//   evaluate_batch(node, made, machine);
//   add_gradients(node, made, {.output = by_made, .inputs = by_inputs, .weight = by_weight}, machine);
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "kernels/machine.h"

namespace nibble {

struct BatchOperand {
  std::span<const float> numbers;  // [samples, numbers of a sample], or those of one
  bool is_shared = false;          // one for all samples

  std::span<const float> of(std::size_t sample, std::size_t samples) const {
    if (is_shared) return numbers;
    const std::size_t size = numbers.size() / samples;
    return numbers.subspan(sample * size, size);
  }
};

// Borrowed.
struct BatchNode {
  const Operation& operation;
  std::vector<Dimensions> shapes;  // of a sample's inputs
  std::size_t samples = 1;
  std::vector<BatchOperand> inputs;
  std::function<std::span<const float>(std::string_view)> weight;
};

// Where gradients are added; empty: nobody asks.
struct BatchGradients {
  std::span<const float> output;  // by what was made
  std::vector<std::span<float>> inputs;
  std::function<std::span<float>(std::string_view)> weight;
};

void evaluate_batch(const BatchNode& node, std::span<float> output, Machine& machine);
// made: what evaluate_batch gave.
void add_gradients(const BatchNode& node, std::span<const float> made, const BatchGradients& into, Machine& machine);

// Why an operation of a net is not walked backwards; empty: it is.
std::string gradient_refusal(const Operation& operation);

// Batch norms with the mean and the variance of the batch itself, as training has them (Ioffe and Szegedy 2015,
// arXiv:1502.03167). x: [samples, channels, plane].
struct NormOfBatch {
  std::vector<double> mean, variance;  // by channel; the variance is that of the numbers at hand, not an estimate
};
NormOfBatch evaluate_norm(const BatchNode& node, std::span<float> output, Machine& machine);
void add_norm_gradients(const BatchNode& node, const NormOfBatch& norm, const BatchGradients& into, Machine& machine);

}  // namespace nibble
