// SPDX-License-Identifier: Apache-2.0
#include "quantize/output_error.h"

#include <algorithm>
#include <vector>

#include "format/outlier_format.h"
#include "format/quantized_tensor.h"
#include "format/row_tiles.h"
#include "kernels/dense/dense.h"
#include "kernels/linear/linear.h"
#include "quantize/round/nearest.h"

namespace nibble {
namespace {

constexpr std::uint64_t kSampledRows = 128;

// Every step-th row.
std::vector<float> sampled(std::span<const float> values, std::size_t cols, std::uint64_t step, std::uint64_t count) {
  std::vector<float> rows;
  rows.reserve(count * cols);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto row = values.subspan(i * step * cols, cols);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

std::vector<float> difference(std::vector<float> a, std::span<const float> b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

// The format's nearest values to row `index`, which is `row`.
void encode_nearest(const RoundedLinear& linear, const FormatPtr& format, std::uint64_t index,
                    std::span<const float> row, std::span<float> out) {
  QuantizedTensor nearest = room_for_rows(format, 1, linear.rows, row.size());
  const std::uint64_t unit = format->info().row_unit;
  std::unique_ptr<TensorGrid> of_unit;  // where rows share grids, that of the rows around
  if (unit > 1) {
    const std::uint64_t begin = index / unit * unit, rows = std::min(unit, linear.rows - begin);
    of_unit = format->prepare(linear.original.subspan(begin * row.size(), rows * row.size()), rows, row.size(), {}, {});
    index -= begin;
  }
  const TensorGrid* const grid = of_unit ? of_unit.get() : linear.tensor_grid;
  if (grid != nullptr) format->pack_tensor(grid, nearest.row(0));
  format->encode_row(row, {}, grid, index, {}, nearest.row(0));
  format->decode_row(nearest.view().row(0), grid, index, out);
}

}  // namespace

double output_power(const SiteStatistics& site, std::span<const float> x, std::uint64_t rows, Machine& machine) {
  const std::size_t cols = site.width();
  std::vector<float> products(x.size());
  if (site.has_second_moment()) {
    gemm(x.data(), site.second_moment.data(), rows, cols, cols, products.data(), machine);
  } else {
    for (std::size_t i = 0; i < x.size(); ++i) products[i] = x[i] * site.mean_square[i % cols];
  }
  double total = 0;
  for (std::size_t i = 0; i < x.size(); ++i) total += static_cast<double>(products[i]) * static_cast<double>(x[i]);
  return total;
}

OutputError measure_output_error(const RoundedLinear& linear, const FormatPtr& format, Machine& machine) {
  const std::size_t cols = linear.weights.size() / linear.rows;
  const bool has_tiles = find_row_tiles(*format) != nullptr ||
                         find_outlier_format(*format) != nullptr;  // whose rows are judged where they lie together
  const std::uint64_t step = has_tiles ? 1 : std::max<std::uint64_t>(1, linear.rows / kSampledRows);
  const std::uint64_t count = has_tiles ? std::min(linear.rows, kSampledRows) : linear.rows / step;
  SiteStatistics unknown;
  if (linear.site == nullptr) unknown.mean_square.assign(cols, 1.0F);
  const SiteStatistics& site = linear.site != nullptr ? *linear.site : unknown;
  const auto share = [&](const std::vector<float>& errors, const std::vector<float>& weights) {
    const double whole = output_power(site, weights, count, machine);
    return whole > 0 ? std::max(0.0, output_power(site, errors, count, machine)) / whole : 0;
  };

  std::vector<float> original = sampled(linear.original, cols, step, count), errors(original.size());
  if (has_tiles) {
    QuantizedTensor nearest(format, count, cols);
    make_nearest_rounder()->encode_band(*format, {.values = original, .importance = {}, .rows = count, .cols = cols},
                                        nearest, machine);
    errors = difference(original, nearest.view().decode());
  } else {
    machine.pool.parallel_for(count, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::span<const float> row = std::span(original).subspan(i * cols, cols);
        const std::span<float> error = std::span(errors).subspan(i * cols, cols);
        encode_nearest(linear, format, i * step, row, error);
        for (std::size_t j = 0; j < cols; ++j) error[j] = row[j] - error[j];
      }
    });
  }
  // The site sees inputs divided by the scales.
  if (!linear.column_scales.empty())
    for (std::size_t i = 0; i < original.size(); ++i) {
      original[i] *= linear.column_scales[i % cols];
      errors[i] *= linear.column_scales[i % cols];
    }
  OutputError result;
  result.nearest = share(errors, original);
  const std::vector<float> weights = sampled(linear.weights, cols, step, count);
  result.stored = share(difference(weights, sampled(linear.stored, cols, step, count)), weights);
  return result;
}

}  // namespace nibble
