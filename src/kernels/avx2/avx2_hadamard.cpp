// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/lanes/hadamard_runs.h"
#include "kernels/linear/hadamard_runs.h"

namespace nibble::avx2 {
namespace {

// Where a lane's partner is below, the lane is subtracted from it: its sign is turned before the sum.
struct EightLanes {
  static constexpr std::size_t kWidth = 8;
  __m256 v;

  static EightLanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  friend EightLanes add(EightLanes a, EightLanes b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend EightLanes sub(EightLanes a, EightLanes b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend EightLanes mul(EightLanes a, EightLanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
  static EightLanes within(EightLanes x) {
    const auto step = [](__m256 own, __m256 partner, __m256 turned) {
      return _mm256_add_ps(partner, _mm256_xor_ps(own, turned));
    };
    constexpr float o = 0.0F, n = -0.0F;
    __m256 v = step(x.v, _mm256_permute_ps(x.v, 0xB1), _mm256_setr_ps(o, n, o, n, o, n, o, n));
    v = step(v, _mm256_permute_ps(v, 0x4E), _mm256_setr_ps(o, o, n, n, o, o, n, n));
    v = step(v, _mm256_permute2f128_ps(v, v, 1), _mm256_setr_ps(o, o, o, o, n, n, n, n));
    return {v};
  }
};

}  // namespace

const HadamardRuns kHadamardRuns = lanes::transform_runs<EightLanes>;

}  // namespace nibble::avx2
