// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/site_rounding.h"

#include <algorithm>

#include "quantize/output_error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kBandElements = std::uint64_t{4} << 20;

}  // namespace

SiteRounding::SiteRounding(const Method& method, std::vector<MatrixOfSite> matrices, Machine& machine)
    : method_(method), matrices_(std::move(matrices)), machine_(machine) {}

Matrix SiteRounding::round(const MatrixOfSite& of, const FormatPtr& format) {
  const Matrix& matrix = *of.matrix;
  LinearTask task;
  task.weights.values = view_of(matrix);
  task.weights.name = of.inputs != nullptr ? "of " + of.inputs->name() : "embedding";
  task.format = format;
  task.method = method_;
  task.moments.push_back({.rows = {0, matrix.rows}, .inputs = of.inputs});
  const LinearQuantizer linear(task, plans_, machine_);
  Matrix stored{matrix.rows, matrix.cols, std::vector<float>(matrix.rows * matrix.cols)};
  for (const RowRange rows : bands_of(task.weights, *format, kBandElements))
    linear.decode(linear.encode(rows), rows.begin, stored.values);
  return stored;
}

const Matrix& SiteRounding::keep(std::size_t index, const FormatPtr& format) {
  const auto [known, is_new] = kept_.try_emplace({index, format->name()});
  if (is_new) known->second = round(matrices_[index], format);
  return known->second;
}

double SiteRounding::error(std::size_t index, const FormatPtr& format) {
  const auto [known, is_new] = errors_.try_emplace({index, format->name()});
  if (!is_new) return known->second;
  const Matrix& original = *matrices_[index].matrix;
  const SiteStatistics* const site = matrices_[index].inputs;
  const auto kept = kept_.find({index, format->name()});
  std::vector<float> difference = kept != kept_.end() ? kept->second.values : round(matrices_[index], format).values;
  SiteStatistics unknown;
  if (site == nullptr) unknown.mean_square.assign(original.cols, 1.0F);
  double total = 0;
  // Bands bound what output_power needs beside the difference.
  const std::uint64_t band_rows = std::max<std::uint64_t>(1, kBandElements / original.cols);
  for (std::uint64_t begin = 0; begin < original.rows; begin += band_rows) {
    const std::uint64_t count = std::min(original.rows - begin, band_rows);
    const std::span<float> band = std::span(difference).subspan(begin * original.cols, count * original.cols);
    for (std::size_t i = 0; i < band.size(); ++i) band[i] = original.values[begin * original.cols + i] - band[i];
    total += output_power(site != nullptr ? *site : unknown, band, count, machine_);
  }
  return known->second = std::max(0.0, total);
}

}  // namespace nibble
