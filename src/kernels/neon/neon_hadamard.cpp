// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "kernels/lanes/hadamard_runs.h"
#include "kernels/linear/hadamard_runs.h"

namespace nibble::neon {
namespace {

// Where a lane's partner is below, the lane is subtracted from it: its sign is turned before the sum.
struct FourLanes {
  static constexpr std::size_t kWidth = 4;
  float32x4_t v;

  static FourLanes load(const float* p) { return {vld1q_f32(p)}; }
  void store(float* p) const { vst1q_f32(p, v); }
  friend FourLanes add(FourLanes a, FourLanes b) { return {vaddq_f32(a.v, b.v)}; }
  friend FourLanes sub(FourLanes a, FourLanes b) { return {vsubq_f32(a.v, b.v)}; }
  friend FourLanes mul(FourLanes a, FourLanes b) { return {vmulq_f32(a.v, b.v)}; }
  static FourLanes within(FourLanes x) {
    const auto step = [](float32x4_t own, float32x4_t partner, uint32x4_t turned) {
      return vaddq_f32(partner, vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(own), turned)));
    };
    constexpr std::uint32_t n = 0x80000000u;
    const float32x4_t v = step(x.v, vrev64q_f32(x.v), uint32x4_t{0, n, 0, n});
    return {step(v, vextq_f32(v, v, 2), uint32x4_t{0, 0, n, n})};
  }
};

}  // namespace

const HadamardRuns kHadamardRuns = lanes::transform_runs<FourLanes>;

}  // namespace nibble::neon
