// SPDX-License-Identifier: Apache-2.0
//
// What planar formats keep for a whole tensor. Immutable once prepared or read.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "format/planar/fit.h"
#include "format/scale.h"

namespace nibble {

inline constexpr std::uint64_t kNestedGroups = 256;  // scales that share a scale of theirs in dq

// The one grid of a whole tensor, or those of its blocks, or the unit of each row's two-level scales, or what dq scales
// are counted in.
class PlanarTensorGrid final : public TensorGrid {
 public:
  PlanarGrid grid;
  std::vector<PlanarGrid> blocks;  // [rows of blocks, groups]
  std::vector<float> bases;
  std::vector<float> nested;
  float offset = 0;
  std::uint64_t groups = 0;      // a row's
  std::uint64_t block_rows = 1;  // rows that share a block

  const PlanarGrid& block_of(std::uint64_t row, std::size_t span_index) const {
    return blocks.at(static_cast<std::size_t>(row / block_rows * groups + span_index));
  }

  ScaleUnit unit_of(std::uint64_t row, std::size_t span_index) const {
    if (nested.empty()) return bases.empty() ? ScaleUnit{} : ScaleUnit{bases.at(static_cast<std::size_t>(row))};
    return {nested.at(static_cast<std::size_t>((row * groups + span_index) / kNestedGroups)), offset};
  }
};

// As bitsandbytes: scales less their mean, in runs of 256 across the tensor, each run by its largest magnitude.
inline void choose_nested(std::span<const float> wanted, PlanarTensorGrid& tensor_grid) {
  double sum = 0;
  for (const float scale : wanted) sum += static_cast<double>(scale);
  tensor_grid.offset = static_cast<float>(sum / static_cast<double>(std::max<std::size_t>(1, wanted.size())));
  for (std::size_t begin = 0; begin < wanted.size(); begin += kNestedGroups) {
    float largest = 0;
    for (const float scale : wanted.subspan(begin, std::min<std::size_t>(kNestedGroups, wanted.size() - begin)))
      largest = std::max(largest, std::fabs(scale - tensor_grid.offset));
    tensor_grid.nested.push_back(std::max(largest, kMinNormal));
  }
}

}  // namespace nibble
