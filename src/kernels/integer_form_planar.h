// SPDX-License-Identifier: Apache-2.0
//
// Planar formats as integers on a grid.
#pragma once

#include "kernels/integer_form.h"

namespace nibble {

std::optional<IntegerForm> planar_integer_form(const Format& format, std::uint64_t cols);

// Formats whose codes are small binary floats on scales. The form's shape says how codes and scales lie in memory; its products are not integers.
struct FloatForm {
  IntegerForm form;
  FloatCodes codes;
  std::array<float, 256> values;  // by code
};
std::optional<FloatForm> float_form(const Format& format);

// Rounds 4-bit points to int8 operands around 128: exactly where twice every point is an integer, else in units of largest / 127.
void set_points(IntegerForm& form, const std::array<float, 16>& points);

}  // namespace nibble
