// SPDX-License-Identifier: Apache-2.0
#include "pipeline/site_rounding.h"

#include <algorithm>

#include "format/quantized_tensor.h"
#include "kernels/encoders.h"
#include "quantize/output_error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kBandElements = std::uint64_t{4} << 20;

}  // namespace

SiteRounding::SiteRounding(const Method& method, const SiteStatistics* site, std::vector<const Matrix*> matrices, ThreadPool& pool, Isa isa)
    : method_(method), site_(site), matrices_(std::move(matrices)), pool_(pool), isa_(isa) {}

Matrix SiteRounding::round(const Matrix& matrix, const FormatPtr& wanted) {
  const FormatPtr format = with_kernels(wanted, isa_);
  const std::uint64_t rows = matrix.rows, cols = matrix.cols;
  const std::span<const float> values(matrix.values);
  std::span<const float> importance;
  if (site_ != nullptr && method_.needs() >= Needs::mean_square) importance = site_->mean_square;
  std::shared_ptr<const TensorGrid> grid;
  if (format->needs_prepare()) grid = format->prepare(values, rows, cols, importance, method_.fit);
  std::shared_ptr<const RoundPlan> plan;
  if (site_ != nullptr && site_->has_second_moment() && method_.rounder->needs() == Needs::second_moment) {
    const auto [known, is_new] = plans_.try_emplace(format->name());
    if (is_new) known->second = method_.rounder->plan(*site_, *format, pool_, isa_);
    plan = known->second;
  }
  Matrix stored{rows, cols, std::vector<float>(rows * cols)};
  const std::uint64_t band_rows = std::max<std::uint64_t>(1, kBandElements / cols);
  for (std::uint64_t begin = 0; begin < rows; begin += band_rows) {
    const std::uint64_t count = std::min(rows - begin, band_rows);
    QuantizedTensor bytes(format, count, cols);
    bytes.tensor_grid = grid;
    const RoundBand band{values.subspan(begin * cols, count * cols), importance, count, cols, begin, grid.get(), method_.fit, plan.get()};
    method_.rounder->encode_band(*format, band, bytes, pool_, isa_);
    const QuantizedView view = bytes.view();
    pool_.parallel_for(count, 16, [&](std::size_t first, std::size_t last, std::size_t) {
      for (std::size_t row = first; row < last; ++row)
        format->decode_row(view.row(row), grid.get(), begin + row, std::span(stored.values).subspan((begin + row) * cols, cols));
    });
  }
  return stored;
}

const Matrix& SiteRounding::keep(std::size_t index, const FormatPtr& format) {
  const auto [known, is_new] = kept_.try_emplace({index, format->name()});
  if (is_new) known->second = round(*matrices_[index], format);
  return known->second;
}

double SiteRounding::error(std::size_t index, const FormatPtr& format) {
  const auto [known, is_new] = errors_.try_emplace({index, format->name()});
  if (!is_new) return known->second;
  const Matrix& original = *matrices_[index];
  const auto kept = kept_.find({index, format->name()});
  std::vector<float> difference = kept != kept_.end() ? kept->second.values : round(original, format).values;
  SiteStatistics unknown;
  if (site_ == nullptr) unknown.mean_square.assign(original.cols, 1.0F);
  double total = 0;
  // Bands bound what output_power needs beside the difference.
  const std::uint64_t band_rows = std::max<std::uint64_t>(1, kBandElements / original.cols);
  for (std::uint64_t begin = 0; begin < original.rows; begin += band_rows) {
    const std::uint64_t count = std::min(original.rows - begin, band_rows);
    const std::span<float> band = std::span(difference).subspan(begin * original.cols, count * original.cols);
    for (std::size_t i = 0; i < band.size(); ++i) band[i] = original.values[begin * original.cols + i] - band[i];
    total += output_power(site_ != nullptr ? *site_ : unknown, band, count, isa_, pool_);
  }
  return known->second = std::max(0.0, total);
}

}  // namespace nibble
