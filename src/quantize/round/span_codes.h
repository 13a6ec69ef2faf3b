// SPDX-License-Identifier: Apache-2.0
//
// Grids and codes of a band of rows while they are being chosen, before they become bytes. Internal to round/.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "format/row_tiles.h"
#include "format/sparse_format.h"
#include "quantize/round/band_outliers.h"
#include "quantize/round/rounder.h"

namespace nibble {

class SpanCodes {
 public:
  SpanCodes(const Format& format, std::size_t rows, std::size_t cols)
      : format_(format),
        cols_(cols),
        span_(std::max<std::size_t>(1, format.info().span == 0 ? cols : std::min(format.info().span, cols))),
        spans_((cols + span_ - 1) / span_),
        units_(cols / format.info().unit),
        grid_bytes_(format.grid_bytes()),
        grids_(rows * spans_ * grid_bytes_),
        codes_((rows + tile_rows() - 1) / tile_rows() * tile_rows() * units_) {}

  // Rows coded together; 1 where each is by itself.
  std::size_t tile_rows() const { return find_row_tiles(format_) != nullptr ? format_.info().row_unit : 1; }
  bool has_tiles() const { return find_row_tiles(format_) != nullptr; }
  std::unique_ptr<TileCoder> make_coder() const { return find_row_tiles(format_)->make_coder(); }

  // Of formats that keep outliers: which they are, before grids are fitted (BandOutliers has the terms). Others have
  // none.
  void choose_outliers(const RoundBand& band, std::span<const float> importance, std::span<const float> costs,
                       ThreadPool& pool) {
    if (const OutlierFormat* const format = find_outlier_format(format_))
      outliers_.emplace(*format, band, importance, costs, pool);
  }
  // Of sparse formats: which weights go.
  void choose_zeros(const RoundBand& band, std::span<const float> costs, ThreadPool& pool) {
    if (find_sparse_format(format_) == nullptr) return;
    dropped_.resize(band.rows * cols_);
    pool.parallel_for(band.rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row)
        choose_zeros_of(row, 0, band.values.subspan(row * cols_, cols_), costs);
    });
  }
  // The same of one row's whole runs from column `first` on, by what they have come to. costs: of these columns.
  void choose_zeros_of(std::size_t row, std::size_t first, std::span<const float> values,
                       std::span<const float> costs) {
    choose_dropped(find_sparse_format(format_)->pattern(), values, costs,
                   std::span(dropped_).subspan(row * cols_ + first, values.size()));
  }
  bool is_dropped(std::size_t row, std::size_t col) const {
    return !dropped_.empty() && dropped_[row * cols_ + col] != 0;
  }
  bool is_outlier(std::size_t row, std::size_t col) const { return outliers_ && outliers_->has(row, col); }

  std::size_t span() const { return span_; }
  std::size_t spans() const { return spans_; }
  std::size_t span_cols(std::size_t s) const { return std::min(span_, cols_ - s * span_); }

  std::byte* grid(std::size_t row, std::size_t s) { return &grids_[(row * spans_ + s) * grid_bytes_]; }
  Code& code(std::size_t row, std::size_t col) { return codes_[row * units_ + col / format_.info().unit]; }

  // Chooses the grid of one span for `x`, in `band`'s terms; outliers and dropped weights are left out.
  void fit(const RoundBand& band, std::size_t row, std::size_t s, std::span<const float> x,
           std::span<const float> importance, std::byte* grid) const {
    const bool has_outliers = outliers_ && outliers_->has_any(row, s * span_, x.size());
    if (!has_outliers && dropped_.empty())
      return format_.fit(x, importance, band.tensor_grid, band.first_row + row, band.fit, grid, s);
    std::vector<float> others(x.begin(), x.end()), weights(importance.begin(), importance.end());
    if (has_outliers) outliers_->leave_out(row, s * span_, others, weights);
    for (std::size_t i = 0; i < others.size(); ++i)
      if (is_dropped(row, s * span_ + i)) others[i] = 0;
    format_.fit(others, weights, band.tensor_grid, band.first_row + row, band.fit, grid, s);
  }

  // The code of the unit at `col` nearest to target[unit] on `grid`, and to out[unit] what it stores. An outlier has
  // the code nearest to 0 and whatever it wants beside it, which goes to `addend`.
  Code nearest(const std::byte* grid, std::size_t row, std::size_t col, const float* target, const float* metric,
               float* out, float* addend) const {
    if (is_dropped(row, col)) {
      *out = 0;
      return kDroppedCode;
    }
    const bool is_beside = is_outlier(row, col);
    const float zero = 0;
    const Code code = format_.nearest(grid, col % span_, is_beside ? &zero : target, metric);
    format_.value(grid, col % span_, code, out);
    if (!is_beside) return code;
    *addend = BandOutliers::stored(*target - *out);
    *out += *addend;
    return code;
  }
  void keep_addend(std::size_t row, std::size_t col, float addend) { outliers_->keep(row, col, addend); }

  // Codes the unit at `col` nearest to target[unit] and writes what is stored to out[unit].
  void round(std::size_t row, std::size_t col, const float* target, const float* metric, float* out) {
    float addend = 0;
    code(row, col) = nearest(grid(row, col / span_), row, col, target, metric, out, &addend);
    if (is_outlier(row, col)) keep_addend(row, col, addend);
  }

  // What is stored of the unit at `col`, to out[unit].
  void value(std::size_t row, std::size_t col, float* out) {
    format_.value(grid(row, col / span_), col % span_, code(row, col), out);
    if (is_outlier(row, col)) *out += outliers_->addend(row, col);
  }

  // The same for the unit of every row of a tile, the first of which is `row`: target, out [rows, unit]. The span is
  // the whole row.
  void round_tile(TileCoder& coder, std::size_t row, std::size_t rows, std::size_t col, const float* target,
                  const float* metric, float* out) {
    std::vector<Code> codes(tile_rows());
    coder.nearest(grid(row, 0), spans_ * grid_bytes_, rows, target, metric, codes.data(), out);
    for (std::size_t i = 0; i < codes.size(); ++i) code(row + i, col) = codes[i];
  }

  void pack(std::size_t rows, QuantizedTensor& out, ThreadPool& pool) {
    if (outliers_) outliers_->write(out);
    if (const RowTiles* const tiles = find_row_tiles(format_)) {
      const std::size_t step = tile_rows();
      pool.parallel_for((rows + step - 1) / step, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t row = begin * step; row < std::min(rows, end * step); row += step)
          tiles->pack(grid(row, 0), grid_bytes_, std::min(step, rows - row), &code(row, 0), units_, cols_,
                      out.row(row));
      });
      return;
    }
    pool.parallel_for(rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row) {
        const RowPlanes planes = out.row(row);
        for (std::size_t s = 0; s < spans_; ++s)
          format_.pack(grid(row, s), &code(row, s * span_), s, span_cols(s), planes);
      }
    });
  }

 private:
  const Format& format_;
  std::size_t cols_, span_, spans_, units_, grid_bytes_;
  std::vector<std::byte> grids_;
  std::vector<Code> codes_;
  std::optional<BandOutliers> outliers_;
  std::vector<std::uint8_t> dropped_;  // [rows, cols] of sparse formats
};

}  // namespace nibble
