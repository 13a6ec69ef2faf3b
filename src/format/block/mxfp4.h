// SPDX-License-Identifier: Apache-2.0
//
// MXFP4 of ggml (OCP Microscaling Formats 1.0): 32 E2M1 floats and a power of two. The stored exponent e means 2^(e -
// 128) for the doubled points. The reference takes e from the peak's own exponent, which clips peaks above 6 / 8 of the
// next power of two; FitRule::absmax is that rule, search tries the neighbouring exponents as well. Code j lies in the
// low half of byte j, code j + 16 in the high half.
#pragma once

#include "format/block_format.h"

namespace nibble {

struct Mxfp4 {
  static constexpr BlockDescriptor kInfo{.name = "mxfp4",
                                         .description = "4-bit floats E2M1, one power of two per 32 (OCP MXFP4)",
                                         .columns = 32,
                                         .num_codes = 16,
                                         .ggml_type = 39,
                                         .ggml_ftype = 38};
  struct Block {
    std::uint8_t e;
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 17);
  struct Grid {
    float d;  // 2^(e - 128)
    std::uint32_t e;
  };

  static void fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                  Grid& grid);
  static void encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                     Block& block);
  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric);
  static void value(const Grid& grid, std::size_t column, Code code, float* out);
  static std::vector<GridPart> grid_parts(const Grid& grid, std::size_t) {
    return {{"exponent e of the scale", static_cast<double>(grid.e)},
            {"scale 2^(e - 127)", 2.0 * static_cast<double>(grid.d)}};
  }
  static constexpr std::size_t kParameters = 1;
  static void parameters(const Grid& grid, float* out) { *out = grid.d; }
  static void set_parameters(const float* parameters, Grid& grid);
  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
