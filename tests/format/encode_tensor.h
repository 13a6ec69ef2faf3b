// SPDX-License-Identifier: Apache-2.0
//
// A matrix in a format, without feedback between columns: row by row, or tile by tile where rows are coded together.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "format/quantized_tensor.h"
#include "format/row_tiles.h"

namespace nibble {

inline void encode_tiles(const RowTiles& tiles, std::span<const float> x, std::span<const float> importance,
                         const FitOptions& options, QuantizedTensor& tensor) {
  const Format& format = *tensor.format;
  const std::size_t rows = static_cast<std::size_t>(tensor.rows), cols = static_cast<std::size_t>(tensor.cols),
                    step = format.info().row_unit, unit = format.info().unit, stride = format.grid_bytes();
  const std::unique_ptr<TileCoder> coder = tiles.make_coder();
  std::vector<std::byte> grids(rows * stride);
  for (std::size_t row = 0; row < rows; ++row)
    format.fit(x.subspan(row * cols, cols), importance, nullptr, row, options, &grids[row * stride]);
  std::vector<Code> codes(step * cols / unit), tile(step);
  std::vector<float> targets(step * unit), values(step * unit), metric(unit * unit);
  for (std::size_t first = 0; first < rows; first += step) {
    const std::size_t count = std::min(step, rows - first);
    for (std::size_t col = 0; col < cols; col += unit) {
      for (std::size_t row = 0; row < count; ++row)
        std::copy_n(&x[(first + row) * cols + col], unit, &targets[row * unit]);
      for (std::size_t i = 0; i < unit; ++i) metric[i * unit + i] = importance.empty() ? 1.0F : importance[col + i];
      coder->nearest(&grids[first * stride], stride, count, targets.data(), metric.data(), tile.data(), values.data());
      for (std::size_t row = 0; row < step; ++row) codes[row * (cols / unit) + col / unit] = tile[row];
    }
    tiles.pack(&grids[first * stride], stride, count, codes.data(), cols / unit, cols, tensor.row(first));
  }
}

// x: [rows, cols]. importance: one for each column, or none.
inline QuantizedTensor encode_tensor(const FormatPtr& format, std::span<const float> x, std::uint64_t rows,
                                     FitRule rule = FitRule::automatic, std::span<const float> importance = {}) {
  const std::size_t cols = x.size() / static_cast<std::size_t>(rows);
  QuantizedTensor tensor(format, rows, cols);
  const FitOptions options{.rule = rule};
  if (const RowTiles* const tiles = find_row_tiles(*format)) {
    encode_tiles(*tiles, x, importance, options, tensor);
    return tensor;
  }
  const auto grid = format->prepare(x, rows, cols, importance, options);
  if (grid) format->pack_tensor(grid.get(), tensor.row(0));
  for (std::uint64_t row = 0; row < rows; ++row)
    format->encode_row(x.subspan(static_cast<std::size_t>(row) * cols, cols), importance, grid.get(), row, options,
                       tensor.row(row));
  tensor.tensor_grid = format->unpack_tensor(tensor.view().row(0), rows, cols);  // as readers have it
  return tensor;
}

}  // namespace nibble
