// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq1_m.h"

#include <cstring>

namespace nibble {

namespace {

std::uint16_t gather_d(const IQ1_M::Block& block) {
  unsigned d = 0;
  for (unsigned i = 0; i < 4; ++i) d |= (block.scales[i] >> 12u) << (4 * i);
  return static_cast<std::uint16_t>(d);
}

}  // namespace

Code IQ1_MUnit::nearest_in_metric(const float* target, const float* metric, float) {
  const MetricChoice up = nibble::nearest_in_metric(iq1_codebook(), 1, target, metric, Signs::none, kShift);
  const MetricChoice down = nibble::nearest_in_metric(iq1_codebook(), 1, target, metric, Signs::none, -kShift);
  return up.error <= down.error ? up.index[0] : down.index[0] | 2048u;
}

void IQ1_M::pack(const Grid& grid, const Code* codes, Block& block) {
  block = {};
  const std::uint16_t d = f32_to_f16(grid.d);
  for (std::size_t i = 0; i < 32; ++i) {
    block.qs[i] = static_cast<std::uint8_t>(codes[i] & 255u);
    block.qh[i / 2] = static_cast<std::uint8_t>(block.qh[i / 2] | (codes[i] >> 8 & 15u) << (i % 2 * 4));
  }
  for (std::size_t s = 0; s < 16; ++s)
    block.scales[s / 4] = static_cast<std::uint16_t>(block.scales[s / 4] | grid.scales[s] << (s % 4 * 3));
  for (std::size_t i = 0; i < 4; ++i)
    block.scales[i] = static_cast<std::uint16_t>(block.scales[i] | (d >> (4 * i) & 15u) << 12);
}

void IQ1_M::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(gather_d(block));
  for (std::size_t s = 0; s < 16; ++s) grid.scales[s] = block.scales[s / 4] >> (s % 4 * 3) & 7;
  for (std::size_t i = 0; i < 32; ++i) codes[i] = block.qs[i] | (block.qh[i / 2] >> (i % 2 * 4) & 15u) << 8;
  VectorSearch<IQ1_MShape>::derive(grid);
}

void IQ1_M::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[kSuperBlock / IQ1_MShape::kUnit];
  encode_units(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> IQ1_M::find_defect(const Block& block) {
  if (!f16_is_finite(gather_d(block))) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_iq1_m() { return std::make_shared<BlockFormat<IQ1_M>>(); }

}  // namespace nibble
