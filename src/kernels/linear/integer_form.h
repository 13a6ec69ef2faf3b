// SPDX-License-Identifier: Apache-2.0
//
// Which formats are integers on a grid, and how their blocks are read. The one place where kernels know formats by
// name; everything behind it knows shapes only (integer_shape.h).
//
//   const auto form = integer_form(*view.format, view.cols);
//   if (form && form->read != nullptr) form->read(*form, view.row(7), 0, 256, codes);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "format/lattice/lattice_format.h"
#include "format/quantized_tensor.h"
#include "kernels/linear/trellis_kernels.h"
#include "kernels/linear/unit_shape.h"

namespace nibble {

// One row of a block: codes, and the parts of its grid as the resident block stores them (bits of f16, bytes, ...).
struct BlockCodes {
  std::uint64_t row;  // its number in the matrix, for formats whose scales are not the row's own
  std::uint8_t codes[kBlockDepth];
  std::uint16_t super[2];
  std::uint32_t scales[kMaxGroups], offsets[kMaxGroups];
  float row_scale;
  std::uint16_t unit_indices[64];    // of formats of units, in place of codes
  std::uint8_t unit_signs[kOctets];  // bit j: column j of eight is negative; or 255 where the shift is down
};

struct IntegerForm {
  // Reads `columns` columns of block `block` of a row. What the shape does not have is left alone.
  using Read = void (*)(const IntegerForm& form, const ConstRowPlanes& row, std::size_t block, std::size_t columns,
                        BlockCodes& out);

  IntegerShape shape;  // of the block, or of what a block of units or of tiles is decoded to
  UnitShape units;
  std::optional<TrellisOperands> trellis;
  std::optional<LatticeShape> lattice;  // octets of columns in codes (lattice_octets.h)
  std::array<float, 16> table = {};     // exact points by code, for formats with a table
  Read read = nullptr;                  // null for trellises and lattices, which are panels as they are stored
  bool needs_tensor_grid = false;
  const TensorGrid* tensor_grid = nullptr;  // while packing
  const Format* format = nullptr;
};

// For kernels whose operands are signed bytes (KernelTable::signed_operands): where operands reach 128 they, and their
// middle, become 128 less. Tiles of trellises are decoded to such operands by the kernels themselves.
void sign_operands(IntegerForm& form);

// Nothing when the format is not integers on a grid that the kernels know, or its groups do not fit their blocks.
std::optional<IntegerForm> integer_form(const Format& format, std::uint64_t cols);

}  // namespace nibble
