// SPDX-License-Identifier: Apache-2.0
//
// What the kernel tests share: the sets that this processor can run, seeded numbers, comparison of bits.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/cpu.h"
#include "base/random.h"
#include "kernels/machine.h"

namespace nibble {

// Every set that this processor has; the first is the reference.
inline std::vector<Isa> runnable_sets() {
  const CpuFeatures features = detect_cpu();
  std::vector<Isa> sets;
  for (const Isa isa : all_isas())
    if (has_isa(features, isa)) sets.push_back(isa);
  return sets;
}

// The same machine with the kernels of another set.
inline Machine& with_set(Machine& machine, Isa isa) {
  machine.isa = isa;
  return machine;
}

inline std::vector<float> normal_numbers(std::size_t count, std::uint64_t seed, double scale = 1.0) {
  Random random(seed);
  std::vector<float> out(count);
  for (float& x : out) x = static_cast<float>(scale * random.normal());
  return out;
}

// Bit for bit, so that -0 and +0 differ and NaN equals itself. Names the first difference.
inline ::testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes " << a.size() << " and " << b.size();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0)
      return ::testing::AssertionFailure() << "element " << i << ": " << a[i] << " and " << b[i];
  return ::testing::AssertionSuccess();
}

// A chain of K fused multiply-adds differs from the exact sum by at most gamma_K * sum |x| |w|, gamma_K = K u / (1 - K
// u), u = 2^-24 (Higham, Accuracy and Stability, section 3.1).
inline double chain_bound(std::size_t terms) {
  const double ku = static_cast<double>(terms) * 0x1p-24;
  return ku / (1 - ku);
}

// y[t, r] within relative * sum |x[t, k]| |w[r, k]| of the products' sum in f64. Names the first that is not.
inline ::testing::AssertionResult near_exact(const std::vector<float>& y, const std::vector<float>& x,
                                             const std::vector<float>& w, std::size_t rows, double relative) {
  const std::size_t cols = w.size() / rows, tokens = x.size() / cols;
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0, magnitude = 0;
      for (std::size_t k = 0; k < cols; ++k) {
        const double term = static_cast<double>(x[t * cols + k]) * static_cast<double>(w[r * cols + k]);
        sum += term;
        magnitude += std::fabs(term);
      }
      const double found = static_cast<double>(y[t * rows + r]);
      if (!(std::fabs(found - sum) <= relative * magnitude))
        return ::testing::AssertionFailure() << "token " << t << ", row " << r << ": " << found << " and " << sum;
    }
  return ::testing::AssertionSuccess();
}

}  // namespace nibble
