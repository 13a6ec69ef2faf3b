// SPDX-License-Identifier: Apache-2.0
#include "format/block/mxfp4.h"

#include <algorithm>
#include <cmath>

#include "format/family/e2m1_block.h"
#include "format/family/nibble_block.h"
#include "format/scale_search.h"

namespace nibble {

namespace {

constexpr std::uint32_t kReservedExponent = 255;  // NaN in E8M0

float scale_of(std::uint32_t e) { return std::ldexp(1.0f, static_cast<int>(e) - 128); }

}  // namespace

void Mxfp4::fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                Grid& grid) {
  const float peak = find_peak(x, 32).magnitude;
  const int e = peak > 0 ? std::max(0, std::ilogb(peak) - 2 + 127) : 0;
  grid.e = static_cast<std::uint32_t>(e);
  grid.d = scale_of(grid.e);
  if (options.rule != FitRule::search && options.rule != FitRule::automatic) return;
  // Its own exponent, then the neighbours.
  int exponents[4] = {e};
  std::size_t count = 1;
  for (int candidate = std::max(0, e - 1); candidate <= e + 1; ++candidate) exponents[count++] = candidate;
  float scales[4];
  double errors[4];
  for (std::size_t k = 0; k < count; ++k) scales[k] = scale_of(static_cast<std::uint32_t>(exponents[k]));
  loops.errors({x, weights_or_ones(importance), 32}, kDoubledE2M1Points, scales, count, errors);
  const auto best = static_cast<std::size_t>(std::min_element(errors, errors + count) - errors);
  grid = {scales[best], static_cast<std::uint32_t>(exponents[best])};
}

void Mxfp4::encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                   Block& block) {
  Grid grid;
  fit(x, importance, options, loops, grid);
  std::uint8_t codes[32];
  loops.codes(x, 32, kDoubledE2M1Points, grid.d, codes);
  block.e = static_cast<std::uint8_t>(grid.e);
  pack_nibbles(codes, block.qs);
}

Code Mxfp4::nearest(const Grid& grid, std::size_t, const float* target, const float*) {
  return nearest_doubled_e2m1(*target / grid.d);
}

void Mxfp4::value(const Grid& grid, std::size_t, Code code, float* out) { *out = kDoubledE2M1[code] * grid.d; }

void Mxfp4::set_parameters(const float* parameters, Grid& grid) {
  int exponent;
  const float mantissa = std::frexp(*parameters, &exponent);  // [0.5, 1)
  // The nearest power of two on the logarithmic axis: sqrt(1/2) divides.
  const int e = mantissa > 0 ? exponent + 128 - (mantissa < 0.70710678f ? 1 : 0) : 0;
  grid.e = static_cast<std::uint32_t>(std::clamp(e, 0, static_cast<int>(kReservedExponent) - 1));
  grid.d = scale_of(grid.e);
}

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

FormatPtr make_mxfp4() { return std::make_shared<LoopedBlockFormat<Mxfp4>>(); }

}  // namespace nibble
