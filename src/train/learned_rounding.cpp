// SPDX-License-Identifier: Apache-2.0
#include "train/learned_rounding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "format/planar/format.h"
#include "nibble/error.h"
#include "train/number_sizes.h"
#include "train/row_spans.h"

namespace nibble {
namespace {

constexpr float kOutOfRange = 0.75F;  // of the distance between points: farther than that only beyond the last

}  // namespace

std::string LearnedRounding::refusal(const Format& format) {
  const FormatInfo& info = format.info();
  const PlanarSpec* const planar = find_planar_spec(format);
  if (planar != nullptr && (planar->grain == PlanarGrain::tensor || planar->grain == PlanarGrain::block))
    return "rows share its scales";
  if (info.unit != 1 || info.row_unit != 1) return "its codes stand for several weights at once";
  if (find_trainable_grid(format) == nullptr) return "it has no grids";
  if (format.needs_prepare()) return "its scales are counted in others";
  if (format.num_codes() > std::numeric_limits<std::uint16_t>::max()) return "it has too many points";
  return {};
}

struct LearnedRounding::Span {
  std::size_t row = 0, index = 0, begin = 0, columns = 0;  // begin: among all weights
  std::size_t number = 0;                                  // the first of its grid's
  std::vector<float> scratch;                              // [numbers of a grid, columns]
};

// body sees the spans of a row in order.
template <class Body>
void LearnedRounding::each_span(ThreadPool& pool, Body body) const {
  const RowSpans spans{static_cast<std::size_t>(weight_->values.rows), static_cast<std::size_t>(weight_->values.cols),
                       span_};
  const auto make_scratch = [&] {
    Span span;
    span.scratch.resize(std::max<std::size_t>(1, per_grid_) * span_);
    return span;
  };
  each_row_span(spans, pool, make_scratch, [&](const RowSpan& at, Span& span) {
    span.row = at.row;
    span.index = at.index;
    span.begin = at.row * spans.cols + at.begin;
    span.columns = at.columns;
    span.number = (at.row * spans_ + at.index) * per_grid_;
    body(span);
  });
}

LearnedRounding::LearnedRounding(const QuantizedTensor& start, std::span<const float> weights, float within,
                                 NetworkWeight& weight, ThreadPool& pool)
    : weight_(&weight), format_(start.format) {
  if (const std::string why = refusal(*format_); !why.empty())
    throw Error(ErrorKind::unsupported, fmt::format("rounding is not learned in {}: {}", format_->name(), why));
  free_ = find_trainable_grid(*format_);
  const auto cols = static_cast<std::size_t>(start.cols), size = static_cast<std::size_t>(start.rows) * cols;
  span_ = std::min(cols, format_->info().span == 0 ? cols : format_->info().span);
  spans_ = (cols + span_ - 1) / span_;
  per_grid_ = free_->num_parameters();
  const std::size_t grid_bytes = format_->grid_bytes(), grids = static_cast<std::size_t>(start.rows) * spans_;
  first_grids_.resize(grids * grid_bytes);
  codes_.resize(size);
  begin_.resize(size);
  distances_.resize(size);
  offsets_.resize(size);
  first_numbers_.resize(grids * per_grid_);
  const QuantizedView view = start.view();
  each_span(pool, [&](const Span& span) {
    std::byte* const grid = &first_grids_[(span.row * spans_ + span.index) * grid_bytes];
    std::vector<Code> codes(span.columns);
    format_->unpack(view.row(span.row), span.index, span.columns, view.tensor_grid.get(), span.row, grid, codes.data());
    free_->parameters(grid, &first_numbers_[span.number]);
    for (std::size_t i = 0; i < span.columns; ++i) {
      float own = 0, distance = 0;
      format_->value(grid, i, codes[i], &own);
      for (const Code other : {codes[i] - 1, codes[i] + 1}) {  // below 0 it is none
        if (other >= format_->num_codes()) continue;
        float value = 0;
        format_->value(grid, i, other, &value);
        const float away = std::fabs(value - own);
        if (away > 0 && (distance == 0 || away < distance)) distance = away;
      }
      const float most = within * distance;
      begin_[span.begin + i] = own + std::clamp(weights[span.begin + i] - own, -most, most);
      distances_[span.begin + i] = distance;
    }
  });
  sizes_ = number_sizes(first_numbers_, *format_);
  changes_.resize(sizes_.size());
  slopes_.resize(sizes_.size());
  grids_ = first_grids_;
  round(pool);
}

Parameter LearnedRounding::offsets() {
  const Matrix& shape = weight_->values;
  return {weight_->name + ".offsets", shape.rows, shape.cols, offsets_, weight_->gradient};
}

Parameter LearnedRounding::grid_changes() { return {weight_->name + ".grids", 1, changes_.size(), changes_, slopes_}; }

void LearnedRounding::scale_grid_changes(float share) {
  for (float& size : sizes_) size *= share;
}

void LearnedRounding::hold_in_bounds(float most, ThreadPool& pool) {
  for (std::vector<float>* const numbers : {&offsets_, &changes_})
    pool.parallel_for(numbers->size(), std::size_t{1} << 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) (*numbers)[i] = std::clamp((*numbers)[i], -most, most);
    });
}

void LearnedRounding::round(ThreadPool& pool) {
  const std::size_t grid_bytes = format_->grid_bytes();
  std::vector<float>& values = weight_->values.values;
  each_span(pool, [&](Span& span) {
    const std::size_t place = (span.row * spans_ + span.index) * grid_bytes;
    std::byte* const grid = &grids_[place];
    bool has_changed = false;
    for (std::size_t p = 0; p < per_grid_; ++p) {
      const std::size_t i = span.number + p;
      has_changed = has_changed || changes_[i] != 0;
      span.scratch[p] = first_numbers_[i] + sizes_[i] * changes_[i];
    }
    std::memcpy(grid, &first_grids_[place], grid_bytes);
    if (has_changed) free_->store(span.scratch.data(), grid);
    for (std::size_t i = 0; i < span.columns; ++i) {
      const std::size_t at = span.begin + i;
      const float position = begin_[at] + distances_[at] * offsets_[at];
      const Code code = format_->nearest(grid, i, &position, nullptr);
      format_->value(grid, i, code, &values[at]);
      codes_[at] = static_cast<std::uint16_t>(code);
    }
  });
}

void LearnedRounding::pull_back(ThreadPool& pool) {
  const std::size_t grid_bytes = format_->grid_bytes();
  std::vector<float>& gradient = weight_->gradient;
  const std::vector<float>& values = weight_->values.values;
  each_span(pool, [&](Span& span) {
    const std::byte* const grid = &grids_[(span.row * spans_ + span.index) * grid_bytes];
    std::vector<float> numbers(per_grid_);
    std::vector<Code> codes(codes_.begin() + static_cast<std::ptrdiff_t>(span.begin),
                            codes_.begin() + static_cast<std::ptrdiff_t>(span.begin + span.columns));
    free_->parameters(grid, numbers.data());
    free_->slopes(grid, numbers.data(), codes.data(), span.columns, span.scratch.data());
    for (std::size_t p = 0; p < per_grid_; ++p) {
      double sum = 0;
      for (std::size_t i = 0; i < span.columns; ++i)
        sum += static_cast<double>(gradient[span.begin + i]) * static_cast<double>(span.scratch[p * span.columns + i]);
      slopes_[span.number + p] = static_cast<float>(sum * static_cast<double>(sizes_[span.number + p]));
    }
    for (std::size_t at = span.begin; at < span.begin + span.columns; ++at) {
      const float away = std::fabs(begin_[at] + distances_[at] * offsets_[at] - values[at]);
      gradient[at] = away <= kOutOfRange * distances_[at] ? gradient[at] * distances_[at] : 0;
    }
  });
}

void LearnedRounding::approach(float share, const Curvature& curvature, ThreadPool& pool) {
  const std::vector<float>& gradient = weight_->gradient;
  const std::vector<float>& values = weight_->values.values;
  const auto cols = static_cast<std::size_t>(weight_->values.cols);
  each_span(pool, [&](const Span& span) {
    for (std::size_t at = span.begin; at < span.begin + span.columns; ++at) {
      const float distance = distances_[at],
                  bend = curvature.rows[span.row] * curvature.cols[at - span.row * cols] * distance * distance;
      if (!(bend > 0)) continue;
      const float point = (values[at] - begin_[at]) / distance;
      const float least = point - std::clamp(gradient[at] / bend, -1.0F, 1.0F);
      offsets_[at] += share * (least - offsets_[at]);
    }
  });
}

QuantizedTensor LearnedRounding::store(ThreadPool& pool) const {
  QuantizedTensor made(format_, weight_->values.rows, weight_->values.cols);
  const std::size_t grid_bytes = format_->grid_bytes();
  each_span(pool, [&](const Span& span) {
    const std::vector<Code> codes(codes_.begin() + static_cast<std::ptrdiff_t>(span.begin),
                                  codes_.begin() + static_cast<std::ptrdiff_t>(span.begin + span.columns));
    format_->pack(&grids_[(span.row * spans_ + span.index) * grid_bytes], codes.data(), span.index, span.columns,
                  made.row(span.row));
  });
  return made;
}

}  // namespace nibble
