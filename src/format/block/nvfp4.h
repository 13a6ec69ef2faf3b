// SPDX-License-Identifier: Apache-2.0
//
// NVFP4 of ggml: 64 E2M1 floats, one unsigned E4M3 scale per 16; x = scale / 2 * doubled point. A tensor may have one
// more f32 scale of its own, which containers keep beside it. In each 8 bytes of a sub-block, code j lies in the low
// half of byte j and code j + 8 in the high half. Scale codes 0 and 0x7f decode to 0; 0x7f and those above are never
// written.
#pragma once

#include "format/block_format.h"

namespace nibble {

struct Nvfp4 {
  static constexpr BlockDescriptor kInfo{
      .name = "nvfp4",
      .description = "4-bit floats E2M1, one 8-bit float scale per 16, none of the whole tensor (NVFP4)",
      .columns = 64,
      .num_codes = 16,
      .ggml_type = 40,
      .ggml_ftype = 39,
      .max_magnitude = 6 * 448.0,
      .inner = 16};
  struct Block {
    std::uint8_t d[4];
    std::uint8_t qs[32];
  };
  static_assert(sizeof(Block) == 36);
  struct Grid {
    float d[4];  // half of each scale
    std::uint8_t code[4];
  };

  static void fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                  Grid& grid);
  static void encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                     Block& block);
  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric);
  static void value(const Grid& grid, std::size_t column, Code code, float* out);
  static std::vector<GridPart> grid_parts(const Grid& grid, std::size_t column) {
    return {{"scale of the 16 (an 8-bit float)", 2.0 * static_cast<double>(grid.d[column / 16])}};
  }
  static constexpr std::size_t kParameters = 4;
  static void parameters(const Grid& grid, float* out) { std::copy(std::begin(grid.d), std::end(grid.d), out); }
  static void set_parameters(const float* parameters, Grid& grid);
  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
