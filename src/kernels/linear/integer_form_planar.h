// SPDX-License-Identifier: Apache-2.0
//
// Planar formats as integers on a grid.
#pragma once

#include <vector>

#include "format/planar/tensor_grid.h"
#include "kernels/linear/integer_form.h"

namespace nibble {

std::optional<IntegerForm> planar_integer_form(const Format& format, std::uint64_t cols);

// What doubly quantized scales are counted in: the groups of a tensor, `groups` a row, in runs of kNestedGroups.
struct NestedScales {
  std::vector<float> bases;
  float offset = 0;
  std::uint64_t groups = 0;

  bool has_one_base_a_row() const { return kNestedGroups % groups == 0; }
  // Those of one group of `count` rows.
  void copy_bases(std::uint64_t row, std::size_t count, std::uint64_t group, float* out) const {
    std::uint64_t at = row * groups + group;
    for (std::size_t i = 0; i < count; ++i, at += groups) out[i] = bases[static_cast<std::size_t>(at / kNestedGroups)];
  }
};
NestedScales nested_scales(const TensorGrid& grid);

// Formats whose codes are small binary floats on scales. The form's shape says how codes and scales lie in memory; its
// products are not integers.
struct FloatForm {
  IntegerForm form;
  FloatCodes codes;
  std::array<float, 256> values;  // by code
};
std::optional<FloatForm> float_form(const Format& format);

// Rounds 4-bit points to int8 operands around 128: exactly where twice every point is an integer, else in units of
// largest / 127.
void set_points(IntegerForm& form, const std::array<float, 16>& points);

}  // namespace nibble
