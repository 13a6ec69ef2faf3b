// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq4_xs.h"

#include "format/family/nibble_block.h"

namespace nibble {

void IQ4_XS::fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
  SymmetricKBlock<IQ4_XSShape>::fit(x, importance, options, grid);
}

Code IQ4_XS::nearest(const Grid& grid, std::size_t column, const float* target, const float*) {
  const float value = *target * grid.inverse[column / 32];
  Code code = 0;
  for (std::size_t i = 0; i < 15; ++i) code += value > IQ4_XSShape::boundary(i) ? 1u : 0u;
  return code;
}

void IQ4_XS::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t s = 0; s < 8; ++s) {
    const int low = block.scales_l[s / 2] >> (s % 2 * 4) & 15, high = block.scales_h >> (2 * s) & 3;
    grid.scales[s] = static_cast<std::int8_t>((low | high << 4) - 32);
    unpack_nibbles(block.qs + 16 * s, codes + 32 * s);
  }
  grid.derive();
}

FormatPtr make_iq4_xs() { return std::make_shared<BlockFormat<IQ4_XS>>(); }

}  // namespace nibble
