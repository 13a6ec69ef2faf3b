// SPDX-License-Identifier: Apache-2.0
#include "format/block/q2_0.h"

#include <cmath>

#include "format/bit_pack.h"
#include "format/scale_search.h"

namespace nibble {

namespace {

bool wants_search(const FitOptions& options) {
  return options.rule == FitRule::search || options.rule == FitRule::automatic;
}

// Half away from zero, as the reference rounds; clamped first.
Code code_of(float scaled) {
  const float q = clamp_float(scaled, -1.0f, 2.0f);
  return static_cast<Code>(static_cast<int>(q + std::copysign(0.49999997f, q)) + 1);
}

}  // namespace

void Q2_0::fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops, Grid& grid) {
  const float plain = as_half(find_peak(x, 64).magnitude);
  grid.d = plain;
  if (!wants_search(options) || plain == 0) return;
  constexpr UnitPoints kPoints{.low = -1, .high = 2, .zero = 1};
  // From the peak just inside an end to three times outside: most of the values matter more than the peak.
  const float scales[2] = {
      plain, search_points(x, importance, 64, kPoints, {kPoints.low, kPoints.high, 0.8f, 3.0f, 24}, loops)};
  if (scales[1] == 0) return;
  double errors[2];
  loops.errors({x, weights_or_ones(importance), 64}, kPoints, scales, 2, errors);
  if (errors[1] < errors[0]) grid.d = scales[1];
}

Code Q2_0::nearest(const Grid& grid, std::size_t, const float* target, const float*) {
  return grid.d == 0 ? 1 : code_of(*target / grid.d);
}

void Q2_0::value(const Grid& grid, std::size_t, Code code, float* out) {
  *out = static_cast<float>(static_cast<int>(code) - 1) * grid.d;
}

void Q2_0::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  pack_bits(codes, 64, 2, 0, reinterpret_cast<std::byte*>(block.qs));
}

void Q2_0::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  unpack_bits(reinterpret_cast<const std::byte*>(block.qs), 0, 64, 2, codes);
}

void Q2_0::encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                  Block& block) {
  Grid grid;
  fit(x, importance, options, loops, grid);
  // The reference divides by the scale before it is rounded to half precision.
  const float d = wants_search(options) ? grid.d : find_peak(x, 64).magnitude;
  const float inverse = inverse_of(d);
  Code codes[64];
  for (int i = 0; i < 64; ++i) codes[i] = code_of(x[i] * inverse);
  pack(grid, codes, block);
}

std::optional<std::string> Q2_0::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_q2_0() { return std::make_shared<LoopedBlockFormat<Q2_0>>(); }

}  // namespace nibble
