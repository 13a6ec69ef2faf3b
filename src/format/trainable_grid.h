// SPDX-License-Identifier: Apache-2.0
//
// What training may change of a grid. A value is a code's point on a grid, and linear in each of the grid's free
// numbers while the others stay: scales, biases, zero points, points of learned tables. Integers of sub-blocks are none
// of them, they stay as they are. Formats that have such numbers are TrainableGrids beside being Formats.
//
//   const TrainableGrid& free = *find_trainable_grid(*format);
//   std::vector<float> numbers(free.num_parameters()), slopes(numbers.size() * columns);
//   free.parameters(grid, numbers.data());
//   free.slopes(grid, numbers.data(), codes, columns, slopes.data());  // and a step along them ...
//   free.store(numbers.data(), grid);                                  // ... to what can be stored
#pragma once

#include "format/format.h"

namespace nibble {

class TrainableGrid {
 public:
  virtual ~TrainableGrid() = default;

  // Of one span's grid; 0: it has none.
  virtual std::size_t num_parameters() const = 0;

  // Their values, in an order that is always the same: what GridParts calls scale first, then bias, zero point or the
  // scale of the minima; the points of a table; the scales of sub-blocks where each has its own.
  virtual void parameters(const std::byte* grid, float* out) const = 0;

  // The grid with the nearest numbers that can be stored. What is not among them is read from `grid`, also what scales
  // are counted in (s6, s8, dq). parameters must be finite. store(parameters(grid)) is grid.
  virtual void store(const float* parameters, std::byte* grid) const = 0;

  // What codes mean at numbers that need not be storable; what is not among them is read from `grid`. Of the span's
  // first `columns` columns (all of it for block formats), one code per unit, of rows coded together one per column
  // (RowTiles::column_codes): out[columns]. At parameters(grid) what Format::value gives, but for roundings of sums.
  virtual void values(const std::byte* grid, const float* parameters, const Code* codes, std::size_t columns,
                      float* out) const = 0;

  // d value / d parameter there: out[num_parameters, columns].
  virtual void slopes(const std::byte* grid, const float* parameters, const Code* codes, std::size_t columns,
                      float* out) const = 0;
};

// Null where a format's grids have no such numbers: elements in floating point.
inline const TrainableGrid* find_trainable_grid(const Format& format) {
  const auto* const found = dynamic_cast<const TrainableGrid*>(&format);
  return found == nullptr || found->num_parameters() == 0 ? nullptr : found;
}

}  // namespace nibble
