// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq4_nl.h"

#include "format/block/iq4_xs.h"
#include "format/family/nibble_block.h"
#include "format/planar/points.h"
#include "format/scale_search.h"

namespace nibble {

using Points = IQ4_XSShape;

namespace {

const PointTable& points() {
  static const PointTable kTable({std::begin(Points::kPoints), std::end(Points::kPoints)});
  return kTable;
}

}  // namespace

void Iq4_Nl::fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                 Grid& grid) {
  if (options.rule == FitRule::automatic || options.rule == FitRule::search) {
    grid.d = search_points(x, importance, 32, points().unit_points(), {-127, 113, 0.9f, 1.3f, 24}, loops);
  } else {
    grid.d = as_half(find_peak(x, 32).value / -127);
  }
}

void Iq4_Nl::encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                    Block& block) {
  Grid grid;
  fit(x, importance, options, loops, grid);
  std::uint8_t codes[32];
  std::fill_n(codes, 32, std::uint8_t{8});  // of zero
  if (grid.d != 0) loops.codes(x, 32, points().unit_points(), grid.d, codes);
  block.d = f32_to_f16(grid.d);
  pack_nibbles(codes, block.qs);
}

Code Iq4_Nl::nearest(const Grid& grid, std::size_t, const float* target, const float*) {
  if (grid.d == 0) return 8;
  return points().nearest(*target / grid.d);
}

void Iq4_Nl::value(const Grid& grid, std::size_t, Code code, float* out) { *out = Points::kPoints[code] * grid.d; }

void Iq4_Nl::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  pack_nibbles(codes, block.qs);
}

void Iq4_Nl::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  unpack_nibbles(block.qs, codes);
}

std::optional<std::string> Iq4_Nl::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_iq4_nl() { return std::make_shared<LoopedBlockFormat<Iq4_Nl>>(); }

}  // namespace nibble
