// SPDX-License-Identifier: Apache-2.0
#include "format/block/q1_0.h"

#include <cmath>

#include "format/bit_pack.h"
#include "format/scale_search.h"

namespace nibble {

void Q1_0::fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
  // In the order of the reference, whose rounding shows in the half.
  float sum = 0;
  for (int i = 0; i < 128; ++i) sum += std::fabs(x[i]);
  float mean = sum / 128;
  if (importance != nullptr && (options.rule == FitRule::search || options.rule == FitRule::automatic)) {
    const float weights = lane_sum(128, [&](std::size_t i) { return importance[i]; });
    if (weights > 0) mean = lane_sum(128, [&](std::size_t i) { return importance[i] * std::fabs(x[i]); }) / weights;
  }
  grid.d = as_half(mean);
}

Code Q1_0::nearest(const Grid&, std::size_t, const float* target, const float*) { return *target >= 0 ? 1 : 0; }

void Q1_0::value(const Grid& grid, std::size_t, Code code, float* out) { *out = code != 0 ? grid.d : -grid.d; }

void Q1_0::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  pack_bits(codes, 128, 1, 0, reinterpret_cast<std::byte*>(block.qs));
}

void Q1_0::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  unpack_bits(reinterpret_cast<const std::byte*>(block.qs), 0, 128, 1, codes);
}

std::optional<std::string> Q1_0::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_q1_0() { return std::make_shared<BlockFormat<Q1_0>>(); }

}  // namespace nibble
