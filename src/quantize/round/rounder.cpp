// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/rounder.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "format/row_tiles.h"
#include "quantize/round/span_codes.h"

namespace nibble {

std::shared_ptr<const RoundPlan> Rounder::plan(const SiteStatistics&, const Format&, Machine&) const { return nullptr; }

namespace {

// Every tile by itself.
void encode_tiles(const Format& format, const RoundBand& band, QuantizedTensor& out, Machine& machine) {
  SpanCodes codes(format, band.rows, band.cols);
  const std::size_t step = codes.tile_rows(), unit = format.info().unit;
  machine.pool.parallel_for((band.rows + step - 1) / step, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    const std::unique_ptr<TileCoder> coder = find_row_tiles(format)->make_coder();
    std::vector<float> targets(step * unit), stored(step * unit), metric(unit * unit);
    for (std::size_t first = begin * step; first < std::min<std::size_t>(band.rows, end * step); first += step) {
      const std::size_t rows = std::min<std::size_t>(step, band.rows - first);
      for (std::size_t row = first; row < first + rows; ++row)
        codes.fit(band, row, 0, band.values.subspan(row * band.cols, band.cols), band.importance, codes.grid(row, 0));
      for (std::size_t col = 0; col < band.cols; col += unit) {
        for (std::size_t i = 0; i < rows; ++i)
          std::copy_n(&band.values[(first + i) * band.cols + col], unit, &targets[i * unit]);
        for (std::size_t i = 0; i < unit && !band.importance.empty(); ++i)
          metric[i * unit + i] = band.importance[col + i];
        codes.round_tile(*coder, first, rows, col, targets.data(), band.importance.empty() ? nullptr : metric.data(),
                         stored.data());
      }
    }
  });
  codes.pack(band.rows, out, machine.pool);
}

// With outliers, which are the tile's. importance: what an error costs, too.
void encode_with_outliers(const Format& format, const RoundBand& band, QuantizedTensor& out, Machine& machine) {
  SpanCodes codes(format, band.rows, band.cols);
  codes.choose_outliers(band, band.importance, band.importance, machine.pool);
  machine.pool.parallel_for(band.rows, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
    float stored = 0;
    for (std::size_t row = begin; row < end; ++row) {
      const std::span<const float> values = band.values.subspan(row * band.cols, band.cols);
      for (std::size_t s = 0; s < codes.spans(); ++s) {
        const std::size_t first = s * codes.span(), cols = codes.span_cols(s);
        codes.fit(band, row, s, values.subspan(first, cols),
                  band.importance.empty() ? band.importance : band.importance.subspan(first, cols), codes.grid(row, s));
      }
      for (std::size_t col = 0; col < band.cols; ++col) codes.round(row, col, &values[col], nullptr, &stored);
    }
  });
  codes.pack(band.rows, out, machine.pool);
}

}  // namespace

void Rounder::encode_band(const Format& format, const RoundBand& band, QuantizedTensor& out, Machine& machine) const {
  if (find_row_tiles(format) != nullptr) return encode_tiles(format, band, out, machine);
  if (find_outlier_format(format) != nullptr) return encode_with_outliers(format, band, out, machine);
  machine.pool.parallel_for(band.rows, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      encode(format,
             {band.values.subspan(row * band.cols, band.cols), band.importance, band.tensor_grid, band.first_row + row,
              band.fit},
             out.row(row));
  });
}

}  // namespace nibble
