// SPDX-License-Identifier: Apache-2.0
#include "train/orthogonal.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/dense/dense.h"
#include "train/gradient_norm.h"

namespace nibble {
namespace {

constexpr float kCoefficients[3] = {3.4445f, -4.7750f, 2.0315f};
constexpr double kLeastNorm = 1e-7;

void transpose(std::span<const float> from, std::size_t rows, std::size_t cols, std::span<float> to) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) to[c * rows + r] = from[r * cols + c];
}

}  // namespace

void make_orthogonal(std::span<float> matrix, std::uint64_t rows, std::uint64_t cols, unsigned iterations,
                     Machine& machine) {
  const bool is_wide = cols > rows;
  const auto tall = static_cast<std::size_t>(is_wide ? cols : rows), n = static_cast<std::size_t>(std::min(rows, cols));
  std::vector<float> x(matrix.begin(), matrix.end()), gram(n * n), polynomial(n * n), next(x.size());
  if (is_wide) transpose(matrix, n, tall, x);
  const Parameter whole{{}, 1, x.size(), x, x};
  const double norm = std::max(gradient_norm({&whole, 1}, machine.pool), kLeastNorm);
  for (float& value : x) value = static_cast<float>(static_cast<double>(value) / norm);
  const auto [a, b, c] = kCoefficients;
  // x <- a x + x (b G + c G G) with G = x^T x.
  for (unsigned i = 0; i < iterations; ++i) {
    std::ranges::fill(gram, 0.0f);
    syrk(x.data(), tall, n, gram.data(), machine);
    mirror_lower(gram.data(), n, machine.pool);
    std::ranges::fill(polynomial, 0.0f);
    gemm(gram.data(), gram.data(), n, n, n, polynomial.data(), machine);
    for (std::size_t k = 0; k < polynomial.size(); ++k) polynomial[k] = b * gram[k] + c * polynomial[k];
    for (std::size_t k = 0; k < x.size(); ++k) next[k] = a * x[k];
    gemm(x.data(), polynomial.data(), tall, n, n, next.data(), machine);
    std::swap(x, next);
  }
  if (is_wide)
    transpose(x, tall, n, matrix);
  else
    std::ranges::copy(x, matrix.begin());
}

}  // namespace nibble
