// SPDX-License-Identifier: Apache-2.0
//
// What the kernel tests share: the sets that this processor can run, seeded numbers, comparison of bits.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/cpu.h"
#include "base/random.h"

namespace nibble {

// Every set that this processor has; the first is the reference.
inline std::vector<Isa> runnable_sets() {
  const CpuFeatures features = detect_cpu();
  std::vector<Isa> sets{Isa::scalar};
  const Isa best = best_isa(features);
  if (best >= Isa::avx2) sets.push_back(Isa::avx2);
  if (features.avx_vnni) sets.push_back(Isa::avxvnni);
  if (best >= Isa::avx512) sets.push_back(Isa::avx512);
  return sets;
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
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return ::testing::AssertionFailure() << "element " << i << ": " << a[i] << " and " << b[i];
  return ::testing::AssertionSuccess();
}

}  // namespace nibble
