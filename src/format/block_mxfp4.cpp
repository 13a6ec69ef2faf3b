// SPDX-License-Identifier: Apache-2.0
#include "format/block_mxfp4.h"

#include <cmath>

#include "format/e2m1_block.h"
#include "format/nibble_block.h"
#include "format/scale_search.h"

namespace nibble {

namespace {

constexpr std::uint32_t kReservedExponent = 255;  // NaN in E8M0

float scale_of(std::uint32_t e) { return std::ldexp(1.0f, static_cast<int>(e) - 128); }

float error_of(const float* x, const float* weights, float d) {
  return lane_sum(32, [&](std::size_t i) {
    const float error = x[i] - d * kDoubledE2M1[nearest_doubled_e2m1(x[i] / d)];
    return weights[i] * error * error;
  });
}

}  // namespace

void Mxfp4::fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
  const float peak = find_peak(x, 32).magnitude;
  const int e = peak > 0 ? std::max(0, std::ilogb(peak) - 2 + 127) : 0;
  grid.e = static_cast<std::uint32_t>(e);
  grid.d = scale_of(grid.e);
  if (options.rule != FitRule::search && options.rule != FitRule::automatic) return;
  const float* weights = weights_or_ones(importance);
  float best = error_of(x, weights, grid.d);
  for (int candidate = std::max(0, e - 1); candidate <= e + 1; ++candidate) {
    const float d = scale_of(static_cast<std::uint32_t>(candidate));
    const float error = error_of(x, weights, d);
    if (!(error < best)) continue;
    best = error;
    grid = {d, static_cast<std::uint32_t>(candidate)};
  }
}

Code Mxfp4::nearest(const Grid& grid, std::size_t, const float* target, const float*) { return nearest_doubled_e2m1(*target / grid.d); }

void Mxfp4::value(const Grid& grid, std::size_t, Code code, float* out) { *out = kDoubledE2M1[code] * grid.d; }

void Mxfp4::pack(const Grid& grid, const Code* codes, Block& block) {
  block.e = static_cast<std::uint8_t>(grid.e);
  pack_nibbles(codes, block.qs);
}

void Mxfp4::unpack(const Block& block, Grid& grid, Code* codes) {
  grid = {scale_of(block.e), block.e};
  unpack_nibbles(block.qs, codes);
}

std::optional<std::string> Mxfp4::find_defect(const Block& block) {
  if (block.e == kReservedExponent) return "the scale's exponent is reserved (NaN)";
  return std::nullopt;
}

FormatPtr make_mxfp4() { return std::make_shared<BlockFormat<Mxfp4>>(); }

}  // namespace nibble
