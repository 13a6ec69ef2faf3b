// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/lanes/hadamard_runs.h"
#include "kernels/linear/hadamard_runs.h"

namespace nibble::avx512 {
namespace {

// Where a lane's partner is below, the lane is subtracted from it.
struct SixteenLanes {
  static constexpr std::size_t kWidth = 16;
  __m512 v;

  static SixteenLanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  friend SixteenLanes add(SixteenLanes a, SixteenLanes b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend SixteenLanes sub(SixteenLanes a, SixteenLanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend SixteenLanes mul(SixteenLanes a, SixteenLanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static SixteenLanes within(SixteenLanes x) {
    const auto step = [](__m512 own, __m512 partner, __mmask16 below) {
      return _mm512_mask_sub_ps(_mm512_add_ps(own, partner), below, partner, own);
    };
    __m512 v = step(x.v, _mm512_permute_ps(x.v, 0xB1), 0xAAAA);
    v = step(v, _mm512_permute_ps(v, 0x4E), 0xCCCC);
    v = step(v, _mm512_shuffle_f32x4(v, v, 0xB1), 0xF0F0);
    v = step(v, _mm512_shuffle_f32x4(v, v, 0x4E), 0xFF00);
    return {v};
  }
};

}  // namespace

const HadamardRuns kHadamardRuns = lanes::transform_runs<SixteenLanes>;

}  // namespace nibble::avx512
