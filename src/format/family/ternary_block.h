// SPDX-License-Identifier: Apache-2.0
//
// What TQ1_0 and TQ2_0 of ggml have in common: 256 of {-1, 0, 1} on one half-precision scale; codes are stored plus
// one. The reference's rule (FitRule::absmax) takes the largest magnitude for the scale. FitRule::search is exact: the
// best kept values are a prefix in falling order of magnitude. absmean: the mean magnitude (BitNet b1.58); threshold:
// Ternary Weight Networks.
#pragma once

#include "format/block_format.h"

namespace nibble {

struct TernaryGrid {
  float d = 0;
  float threshold = 0;  // magnitudes above it are kept; half of d except for FitRule::threshold
};

void fit_ternary_block(const float* x, const float* importance, const FitOptions& options, TernaryGrid& grid);

// Codes as the reference rounds them: with the scale that has not been rounded to half precision, halves away from
// zero.
void encode_ternary_block(const float* x, const float* importance, const FitOptions& options, TernaryGrid& grid,
                          Code* codes);

template <class BlockT>
struct TernaryBlock {
  using Block = BlockT;
  using Grid = TernaryGrid;

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
    fit_ternary_block(x, importance, options, grid);
  }

  static Code nearest(const Grid& grid, std::size_t, const float* target, const float*) {
    if (grid.d < 0)
      return static_cast<Code>(1 + (*target < grid.threshold ? 1 : 0) - (*target > -grid.threshold ? 1 : 0));
    return static_cast<Code>(1 + (*target > grid.threshold ? 1 : 0) - (*target < -grid.threshold ? 1 : 0));
  }

  static void value(const Grid& grid, std::size_t, Code code, float* out) {
    *out = static_cast<float>(static_cast<int>(code) - 1) * grid.d;
  }
};

}  // namespace nibble
