// SPDX-License-Identifier: Apache-2.0
#include "format/family/ternary_block.h"

#include "format/planar/fit.h"
#include "format/scale_search.h"

namespace nibble {

namespace {

bool is_plain(FitRule rule) {
  return rule != FitRule::automatic && rule != FitRule::search && rule != FitRule::absmean &&
         rule != FitRule::threshold;
}

}  // namespace

void fit_ternary_block(const float* x, const float* importance, const FitOptions& options, TernaryGrid& grid) {
  const float peak = find_peak(x, 256).magnitude;
  if (is_plain(options.rule) || !(peak > 0)) {
    grid.d = as_half(peak);
    grid.threshold = 0.5f * grid.d;
    return;
  }
  constexpr PlanarSpec kTernary{
      .points = PlanarPoints::ternary, .bits = 2, .grain = PlanarGrain::row, .group = 0, .scale = ScaleType::f16};
  const PlanarGrid fitted =
      fit_planar(kTernary, {x, 256}, {importance, importance == nullptr ? 0u : 256u}, options, {});
  grid = {fitted.scale, fitted.threshold};
}

void encode_ternary_block(const float* x, const float* importance, const FitOptions& options, TernaryGrid& grid,
                          Code* codes) {
  fit_ternary_block(x, importance, options, grid);
  const float peak = find_peak(x, 256).magnitude;
  const float threshold = grid.threshold, inverse = inverse_of(peak);
  if (is_plain(options.rule)) {
    for (int i = 0; i < 256; ++i)
      codes[i] = static_cast<Code>(1 + (x[i] * inverse >= 0.5f ? 1 : 0) - (x[i] * inverse <= -0.5f ? 1 : 0));
  } else {
    for (int i = 0; i < 256; ++i)
      codes[i] = static_cast<Code>(1 + (x[i] > threshold ? 1 : 0) - (x[i] < -threshold ? 1 : 0));
  }
}

}  // namespace nibble
