// SPDX-License-Identifier: Apache-2.0
//
// What a format's codes mean at a scale of 1, where one scale is all that its grids have, or that its grids are four
// numbers of any size: what rounding in training needs to know of it. Immutable.
//
//   const CodePoints points = code_points(*find_format("int2:g64:half"));      // -3/2, -1/2, 1/2, 3/2
//   points.nearest(0.2F);                                                      // 1/2
#pragma once

#include <algorithm>
#include <vector>

#include "format/format.h"

namespace nibble {

struct CodePoints {
  std::vector<float> points;  // ascending; empty: each grid has four of its own
  float step = 0;             // between neighbours; 0: these differ

  bool are_learned() const { return points.empty(); }
  float lowest() const { return points.front(); }
  float highest() const { return points.back(); }
  bool is_ternary() const { return points.size() == 3 && points[0] == -1 && points[1] == 0 && points[2] == 1; }
  bool is_binary() const { return points.size() == 2 && points[0] == -1 && points[1] == 1; }

  float nearest(float x) const {
    if (step != 0) {
      const float place = std::clamp((x - points.front()) / step, 0.0F, static_cast<float>(points.size() - 1));
      constexpr float kWhole = 12582912.0F;  // what is added to it loses its fraction
      return points.front() + step * ((place + kWhole) - kWhole);
    }
    const auto above = std::ranges::lower_bound(points, x);
    if (above == points.begin()) return *above;
    if (above == points.end()) return points.back();
    return x - *(above - 1) <= *above - x ? *(above - 1) : *above;
  }
};

// Error(invalid_argument): a format whose grids have more than a scale, or that many rows share in other ways than
// whole tensors do, and those without grids.
CodePoints code_points(const Format& format);

}  // namespace nibble
