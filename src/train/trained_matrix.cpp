// SPDX-License-Identifier: Apache-2.0
#include "train/trained_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "format/planar/format.h"
#include "nibble/error.h"
#include "train/row_spans.h"

namespace nibble {
namespace {

void require_free_numbers(const QuantizedView& stored) {
  const std::string& name = stored.format->name();
  const PlanarSpec* const planar = find_planar_spec(*stored.format);
  if (find_trainable_grid(*stored.format) == nullptr)
    throw Error(ErrorKind::unsupported, "no number of its grids can be trained: " + name);
  if (planar != nullptr && (planar->grain == PlanarGrain::tensor || planar->grain == PlanarGrain::block))
    throw Error(ErrorKind::unsupported,
                "rows share the numbers of its grids, which are trained row by row; take groups or rows: " + name);
  if (stored.parts && !parts_of(*stored.parts).empty())
    throw Error(ErrorKind::unsupported, "a matrix with parts beside codes and grids is not trained: " + name);
}

}  // namespace

// One span of a row as it is stored, and scratch.
struct TrainedMatrix::Span {
  std::uint64_t row = 0;
  std::size_t index = 0, begin = 0, columns = 0;
  std::vector<std::byte> grid;
  std::vector<Code> codes;     // as TrainableGrid takes them
  std::vector<float> scratch;  // [numbers of a grid, columns]
  const float* numbers = nullptr;
};

// body sees the spans of a row in order.
template <class Body>
void TrainedMatrix::each_span(ThreadPool& pool, Body body) const {
  const Format& format = *stored_.format;
  const auto make_scratch = [&] {
    Span span;
    span.grid.resize(format.grid_bytes());
    span.codes.resize(tiles_ != nullptr ? span_ : span_ / format.info().unit);
    span.scratch.resize(per_grid_ * span_);
    return span;
  };
  const RowSpans spans{static_cast<std::size_t>(stored_.rows), static_cast<std::size_t>(stored_.cols), span_};
  each_row_span(spans, pool, make_scratch, [&](const RowSpan& at, Span& span) {
    const ConstRowPlanes row = stored_.row(at.row);
    span.row = at.row;
    span.index = at.index;
    span.begin = at.begin;
    span.columns = at.columns;
    span.numbers = numbers_.data() + (at.row * spans_ + at.index) * per_grid_;
    format.unpack(row, at.index, at.columns, stored_.tensor_grid.get(), at.row, span.grid.data(), span.codes.data());
    if (tiles_ != nullptr) tiles_->column_codes(row, at.row, span.codes);
    body(span);
  });
}

TrainedMatrix::TrainedMatrix(const QuantizedView& stored, ThreadPool& pool) : stored_(stored) {
  require_free_numbers(stored);
  free_ = find_trainable_grid(*stored.format);
  tiles_ = find_row_tiles(*stored.format);
  const auto cols = static_cast<std::size_t>(stored.cols);
  span_ = stored.format->info().span == 0 ? cols : stored.format->info().span;
  spans_ = (cols + span_ - 1) / span_;
  per_grid_ = free_->num_parameters();
  numbers_.resize(static_cast<std::size_t>(stored.rows) * spans_ * per_grid_);
  each_span(pool, [this](const Span& span) {
    free_->parameters(span.grid.data(), numbers_.data() + (span.numbers - numbers_.data()));
  });
}

void TrainedMatrix::values(std::span<float> out, ThreadPool& pool) const {
  each_span(pool, [&](const Span& span) {
    free_->values(span.grid.data(), span.numbers, span.codes.data(), span.columns,
                  out.data() + span.row * stored_.cols + span.begin);
  });
}

void TrainedMatrix::add_gradient(std::span<const float> by_values, std::span<float> by_numbers,
                                 ThreadPool& pool) const {
  each_span(pool, [&](Span& span) {
    free_->slopes(span.grid.data(), span.numbers, span.codes.data(), span.columns, span.scratch.data());
    const float* const given = by_values.data() + span.row * stored_.cols + span.begin;
    float* const into = by_numbers.data() + (span.numbers - numbers_.data());
    for (std::size_t p = 0; p < per_grid_; ++p) {
      double sum = 0;
      for (std::size_t i = 0; i < span.columns; ++i)
        sum += static_cast<double>(given[i]) * static_cast<double>(span.scratch[p * span.columns + i]);
      into[p] += static_cast<float>(sum);
    }
  });
}

QuantizedTensor TrainedMatrix::store(ThreadPool& pool) const {
  QuantizedTensor made(stored_.format, stored_.rows, stored_.cols);
  made.tensor_grid = stored_.tensor_grid;
  if (tiles_ != nullptr) {
    store_tiles(made, pool);
    return made;
  }
  if (made.tensor_grid) stored_.format->pack_tensor(made.tensor_grid.get(), made.row(0));
  each_span(pool, [&](Span& span) {
    free_->store(span.numbers, span.grid.data());
    stored_.format->pack(span.grid.data(), span.codes.data(), span.index, span.columns, made.row(span.row));
  });
  return made;
}

void TrainedMatrix::store_tiles(QuantizedTensor& into, ThreadPool& pool) const {
  const Format& format = *stored_.format;
  const auto rows = static_cast<std::size_t>(stored_.rows), cols = static_cast<std::size_t>(stored_.cols);
  const std::size_t unit = format.info().row_unit, codes_of_row = cols / format.info().unit;
  pool.parallel_for((rows + unit - 1) / unit, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    std::vector<std::byte> grids(unit * format.grid_bytes());
    std::vector<Code> codes(unit * codes_of_row);
    for (std::size_t tile = begin; tile < end; ++tile) {
      const std::size_t first = tile * unit, count = std::min(unit, rows - first);
      for (std::size_t i = 0; i < unit; ++i) {  // beyond the last row, too, lie codes
        const std::size_t row = std::min(first + i, rows - 1);
        std::byte* const grid = &grids[i * format.grid_bytes()];
        format.unpack(stored_.row(row), 0, cols, stored_.tensor_grid.get(), first + i, grid, &codes[i * codes_of_row]);
        free_->store(&numbers_[row * per_grid_], grid);
      }
      tiles_->pack(grids.data(), format.grid_bytes(), count, codes.data(), codes_of_row, cols, into.row(first));
    }
  });
}

}  // namespace nibble
