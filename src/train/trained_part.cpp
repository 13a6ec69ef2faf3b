// SPDX-License-Identifier: Apache-2.0
#include "train/trained_part.h"

#include <algorithm>
#include <cmath>

#include "nibble/error.h"
#include "train/number_sizes.h"

namespace nibble {
namespace {

QuantizedTensor read_whole(const TensorSource& source, ThreadPool& pool) {
  QuantizedTensor whole(source.format(), source.rows(), source.cols()), room;
  const TensorRows rows = source.read_rows(0, source.rows(), room, pool);
  whole.tensor_grid = source.tensor_grid();
  if (whole.tensor_grid) whole.format->pack_tensor(whole.tensor_grid.get(), whole.row(0));
  for (std::uint64_t row = 0; row < source.rows(); ++row) whole.copy_row(row, rows.planes, row - rows.first);
  return whole;
}

}  // namespace

TrainedPart::TrainedPart(const SourceModel& quantized, const ModelTensor& part, NetworkWeight& weight, ThreadPool& pool)
    : part_(&part), weight_(&weight), spelling_(part.numbers(quantized.spelling())) {
  const StoredTensor& stored = quantized.stored(part);
  format_ = stored.values.format();
  if (format_->info().kind == FormatKind::raw) {
    numbers_.begin = weight.values.values;
    return;
  }
  if (stored.values.parts()) throw Error(ErrorKind::unsupported, "it has parts beside codes and grids");
  planes_ = std::make_unique<QuantizedTensor>(read_whole(stored.values, pool));
  grids_ = std::make_unique<TrainedMatrix>(planes_->view(), pool);
  // Rows lie as the network reads them: what a file holds in another order has gradients in another order.
  std::vector<float> values(weight.values.values.size());
  if (grids_->rows() == weight.values.rows && grids_->cols() == weight.values.cols) grids_->values(values, pool);
  if (!std::ranges::equal(values, weight.values.values, [](float a, float b) {
        return std::fabs(a - b) <= 1e-5f * (std::fabs(a) + std::fabs(b)) + 1e-7f;
      }))
    throw Error(ErrorKind::unsupported, "the file holds it in another form than the network reads it");
  numbers_.begin.assign(grids_->numbers().begin(), grids_->numbers().end());
}

std::uint64_t TrainedPart::num_numbers() const {
  return codes_ ? num_numbers_
                : numbers_.sizes.size() - static_cast<std::uint64_t>(std::ranges::count(numbers_.sizes, 0.0f));
}

void TrainedPart::begin(double share) {
  numbers_.sizes = number_sizes(numbers_.begin, *format_);
  for (float& size : numbers_.sizes) size *= static_cast<float>(share);
  numbers_.changes.assign(numbers_.begin.size(), 0);
  numbers_.slopes.assign(numbers_.begin.size(), 0);
}

bool TrainedPart::begin_codes(double share, ThreadPool& pool) {
  if (!grids_ || !LearnedRounding::refusal(*format_).empty()) return false;
  num_numbers_ = num_numbers();
  const std::vector<float> points = weight_->values.values;
  codes_ = std::make_unique<LearnedRounding>(*planes_, points, 0.0F, *weight_, pool);
  codes_->scale_grid_changes(static_cast<float>(share));
  numbers_ = {};
  return true;
}

Parameter TrainedPart::numbers() {
  if (codes_) {
    Parameter changes = codes_->grid_changes();
    changes.name = part_->hf_name;
    return changes;
  }
  return {part_->hf_name, 1, numbers_.changes.size(), numbers_.changes, numbers_.slopes};
}

void TrainedPart::put_values(Values values, ThreadPool& pool) {
  if (codes_) return codes_->round(pool);
  Matrix& weight = weight_->values;
  if (!grids_)
    for (std::size_t i = 0; i < weight.values.size(); ++i) weight.values[i] = numbers_.at(i);
  for (std::size_t i = 0; i < numbers_.begin.size() && grids_; ++i) grids_->numbers()[i] = numbers_.at(i);
  if (values == Values::stored) {
    const QuantizedTensor made = stored(pool);
    const QuantizedView view = made.view();
    pool.parallel_for(weight.rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row)
        view.decode_row(row, std::span(weight.values).subspan(row * weight.cols, weight.cols));
    });
    for (std::size_t i = 0; i < weight.values.size() && !grids_; ++i)
      weight.values[i] = spelling_.read(weight.values[i]);
  } else if (grids_) {
    grids_->values(weight.values, pool);
  }
}

void TrainedPart::find_slopes(ThreadPool& pool) {
  if (codes_) return codes_->pull_back(pool);
  const std::vector<float>& gradient = weight_->gradient;
  if (grids_) {
    std::ranges::fill(numbers_.slopes, 0.0f);
    grids_->add_gradient(gradient, numbers_.slopes, pool);
  } else {
    std::ranges::copy(gradient, numbers_.slopes.begin());
  }
  for (std::size_t i = 0; i < numbers_.slopes.size(); ++i) numbers_.slopes[i] *= numbers_.sizes[i];
}

QuantizedTensor TrainedPart::stored(ThreadPool& pool) const {
  if (codes_) return codes_->store(pool);
  if (grids_) return grids_->store(pool);
  const Matrix& shape = weight_->values;
  QuantizedTensor made(format_, shape.rows, shape.cols);
  std::vector<float> row(shape.cols);
  for (std::uint64_t r = 0; r < shape.rows; ++r) {
    for (std::uint64_t c = 0; c < shape.cols; ++c) row[c] = spelling_.write(numbers_.at(r * shape.cols + c));
    format_->encode_row(row, {}, nullptr, r, {}, made.row(r));
  }
  return made;
}

}  // namespace nibble
