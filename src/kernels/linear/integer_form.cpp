// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/integer_form.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/linear/integer_form_blocks.h"
#include "kernels/linear/integer_form_planar.h"
#include "kernels/linear/unit_form.h"

namespace nibble {

std::optional<IntegerForm> integer_form(const Format& format, std::uint64_t cols) {
  std::optional<IntegerForm> form = format.info().kind == FormatKind::block    ? block_integer_form(format)
                                    : format.info().kind == FormatKind::planar ? planar_integer_form(format, cols)
                                                                               : std::nullopt;
  if (!form) form = unit_form(format);
  if (form) form->format = &format;
  return form;
}

}  // namespace nibble
