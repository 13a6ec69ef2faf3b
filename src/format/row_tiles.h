// SPDX-License-Identifier: Apache-2.0
//
// Formats whose rows are coded together, a tile at a time: whoever chooses codes does so for all rows of a tile at
// once.
//
//   if (const RowTiles* tiles = find_row_tiles(format)) coder = tiles->make_coder();
#pragma once

#include <cstddef>
#include <memory>

#include "format/format.h"

namespace nibble {

// Chooses codes for tiles: the row_unit rows of a unit of columns. One thread at a time; the format outlives it.
class TileCoder {
 public:
  virtual ~TileCoder() = default;
  // Codes of the rows' targets [rows, unit], least in the sum of what `metric` says of each row's error (as
  // Format::nearest has it). grids: the first row's, the next `stride` bytes behind. rows: row_unit, fewer in a last
  // tile; codes of row_unit rows come out, and what is stored of `rows` of them: values [rows, unit].
  virtual void nearest(const std::byte* grids, std::size_t stride, std::size_t rows, const float* targets,
                       const float* metric, Code* codes, float* values) = 0;
};

// Of formats whose codes mean something only beside those of the row_unit's other rows. Their rows are fitted, unpacked
// and decoded like others', as long as the whole unit is there; nearest, value, pack and encode_row of a single one
// throw Error(unsupported).
class RowTiles {
 public:
  virtual ~RowTiles() = default;
  virtual std::unique_ptr<TileCoder> make_coder() const = 0;
  // Writes a row_unit into its planes: grids of `rows` rows, codes of row_unit rows [cols / unit], each `code_stride`
  // behind the one before.
  virtual void pack(const std::byte* grids, std::size_t stride, std::size_t rows, const Code* codes,
                    std::size_t code_stride, std::size_t cols, const RowPlanes& unit) const = 0;
  // What names each column's value beside the grid, a code for itself whatever it shares with its neighbours: out
  // [cols]. row: as decode_row has it.
  virtual void column_codes(const ConstRowPlanes& row, std::uint64_t row_index, std::span<Code> out) const = 0;
};

// Null where each row is coded by itself.
inline const RowTiles* find_row_tiles(const Format& format) { return dynamic_cast<const RowTiles*>(&format); }

}  // namespace nibble
