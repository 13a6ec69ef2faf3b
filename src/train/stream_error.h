// SPDX-License-Identifier: Apache-2.0
//
// What an error e of a layer's output counts for a token: e^T F e. F = 1 is the squared error; Fisher's information of
// the stream behind the layer (train/loss_curvature.h) makes it what the error costs the model's loss, to second order.
// The same bits for any number of threads. One thread at a time.
//
//   StreamError error(moment, width, arithmetic, machine);                   // empty: F = 1
//   const double sum = error.of(y, target, 1.0 / y.size(), slopes);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dense/matrix_product.h"
#include "kernels/machine.h"

namespace nibble {

// Sums over all tokens, in f64; the latter of the target itself, by the same measure.
struct SizedError {
  double error = 0, target = 0;
};

class StreamError {
 public:
  // moment: F, [width, width], the mean of its diagonal 1; a tenth of the identity is added. Empty: F = 1. Copied.
  // One of infinite gradients is none: F = 1.
  StreamError(std::span<const float> moment, std::size_t width, ProductArithmetic arithmetic, Machine& machine);
  bool has_moment() const { return !moment_.empty(); }

  // y, target: [tokens, width]. Slopes by y of factor times the sum; empty: none.
  double of(std::span<const float> y, std::span<const float> target, double factor, std::span<float> slopes);
  SizedError sized(std::span<const float> y, std::span<const float> target);
  // Random r for each token, [tokens, width], with E[r r^T] = F: as gradients by y they have, by whatever y is made of,
  // half of what the sum bends by for their mean square.
  void draw(std::uint64_t seed, std::span<float> directions);

  // What it takes beside what is given, with batches of so many numbers, in bytes.
  static std::uint64_t bytes(std::uint64_t numbers, std::uint64_t width);

 private:
  std::size_t width_;
  ProductArithmetic arithmetic_;
  Machine& machine_;
  std::vector<float> moment_, root_;  // F, and L of F = L L^T; empty: 1
  std::vector<float> errors_, turned_, zeros_;
};

}  // namespace nibble
