// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/integer_form.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "format/trellis/trellis_format.h"
#include "kernels/linear/integer_form_blocks.h"
#include "kernels/linear/integer_form_planar.h"
#include "kernels/linear/lattice_octets.h"
#include "kernels/linear/unit_form.h"

namespace nibble {
namespace {

std::optional<IntegerForm> trellis_form(const Format& format) {
  const TrellisShape* const shape = trellis_shape(format);
  if (shape == nullptr) return std::nullopt;
  IntegerForm form;
  form.trellis = trellis_operands(*shape);
  form.shape.middle = form.trellis->middle;
  form.shape.scale = ScaleKind::row;
  form.shape.group = kBlockDepth;
  return form;
}

std::optional<IntegerForm> lattice_form(const Format& format) {
  const std::optional<LatticeShape> lattice = lattice_shape(format);
  if (!lattice) return std::nullopt;
  IntegerForm form;
  form.lattice = lattice;
  form.shape.middle = kNestedMiddles[lattice->num_refinements];
  form.shape.scale = ScaleKind::row;
  form.shape.group = kBlockDepth;
  return form;
}

}  // namespace

std::optional<IntegerForm> integer_form(const Format& format, std::uint64_t cols) {
  std::optional<IntegerForm> form = format.info().kind == FormatKind::block    ? block_integer_form(format)
                                    : format.info().kind == FormatKind::planar ? planar_integer_form(format, cols)
                                                                               : std::nullopt;
  if (!form) form = unit_form(format);
  if (!form) form = trellis_form(format);
  if (!form) form = lattice_form(format);
  if (form) form->format = &format;
  return form;
}

void sign_operands(IntegerForm& form) {
  IntegerShape& shape = form.shape;
  const auto reaches = [](std::uint8_t operand) { return operand >= 128; };
  if (shape.has_table && std::ranges::any_of(shape.points, reaches)) {
    for (std::uint8_t& point : shape.points) point ^= 128u;
  } else if (shape.low_bits == 8 && !form.lattice) {
    shape.signed_codes = true;
  } else {
    return;
  }
  shape.middle -= 128;
}

}  // namespace nibble
