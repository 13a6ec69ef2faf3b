// SPDX-License-Identifier: Apache-2.0
#include "quantize/transform/scaling.h"

#include <algorithm>
#include <cmath>

#include "format/quantized_tensor.h"
#include "quantize/output_error.h"
#include "quantize/round/nearest.h"

namespace nibble {
namespace {

constexpr int kGrid = 20;              // steps of alpha
constexpr std::size_t kMaxRows = 128;  // of a Linear that the search looks at, evenly spread
constexpr float kLargestScale = 1e4F;

// The same value for all columns of a group: the largest.
void join_groups(std::vector<float>& values, const std::vector<std::uint32_t>& group_of) {
  if (group_of.empty()) return;
  std::vector<float> largest(*std::ranges::max_element(group_of) + 1u);
  for (std::size_t i = 0; i < values.size(); ++i) largest[group_of[i]] = std::max(largest[group_of[i]], values[i]);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = largest[group_of[i]];
}

// Geometric middle at 1 (of the extremes), so that producer and consumers stay in range.
void normalise(std::vector<float>& scales) {
  float low = HUGE_VALF, high = 0;
  for (float& s : scales) {
    if (!(s > 0) || !std::isfinite(s)) s = 1;
    low = std::min(low, s);
    high = std::max(high, s);
  }
  const float middle = std::sqrt(low) * std::sqrt(high);
  for (float& s : scales) s = std::clamp(s / middle, 1 / kLargestScale, kLargestScale);
}

// Mean over rows of |w| relative to the row's largest (AutoAWQ's w_mean).
std::vector<float> relative_magnitudes(const ScaleRequest& request) {
  const std::size_t n = request.site->width();
  std::vector<float> result(n);
  std::uint64_t rows = 0;
  for (const ScaledLinear& linear : request.linears)
    for (std::uint64_t row = 0; row < linear.rows; ++row) {
      const auto w = linear.weights.subspan(row * n, n);
      float peak = 0;
      for (const float value : w) peak = std::max(peak, std::fabs(value));
      if (peak == 0) continue;
      ++rows;
      for (std::size_t i = 0; i < n; ++i) result[i] += std::fabs(w[i]) / peak;
    }
  for (float& value : result) value = std::max(value / static_cast<float>(std::max<std::uint64_t>(rows, 1)), 1e-6F);
  return result;
}

// Rows of W minus what is stored of W s divided by s: [count, cols].
std::vector<float> sampled_errors(const ScaledLinear& linear, std::size_t cols, std::span<const float> scales,
                                  std::span<const float> importance, std::uint64_t step, std::uint64_t count,
                                  Machine& machine) {
  std::vector<float> scaled(count * cols), errors(count * cols);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < cols; ++j) scaled[i * cols + j] = linear.weights[i * step * cols + j] * scales[j];
  QuantizedTensor stored(linear.format, count, cols);
  make_nearest_rounder()->encode_band(*linear.format, {scaled, importance, count, cols, 0, nullptr, linear.fit}, stored,
                                      machine);
  const QuantizedView view = stored.view();
  machine.pool.parallel_for(count, 2, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::span<float> error = std::span(errors).subspan(i * cols, cols);
      view.decode_row(i, error);
      for (std::size_t j = 0; j < cols; ++j) error[j] = linear.weights[i * step * cols + j] - error[j] / scales[j];
    }
  });
  return errors;
}

double loss_of(const ScaleRequest& request, const std::vector<float>& scales, Machine& machine) {
  const SiteStatistics& site = *request.site;
  const std::size_t cols = site.width();
  std::vector<float> importance(cols);
  for (std::size_t i = 0; i < cols; ++i) importance[i] = site.mean_square[i] / (scales[i] * scales[i]);
  double total = 0;
  for (const ScaledLinear& linear : request.linears) {
    if (linear.format->needs_prepare()) continue;  // its grids are known for whole tensors only
    const std::uint64_t step = std::max<std::uint64_t>(1, linear.rows / kMaxRows), count = linear.rows / step;
    const std::vector<float> errors = sampled_errors(linear, cols, scales, importance, step, count, machine);
    total += output_power(site, errors, count, machine) * static_cast<double>(step);
  }
  return total;
}

}  // namespace

std::vector<float> awq_scales(const ScaleRequest& request, Machine& machine) {
  const std::size_t n = request.site->width();
  std::vector<float> active(n);
  for (std::size_t i = 0; i < n; ++i) active[i] = std::sqrt(request.site->mean_square[i]);
  std::vector<float> magnitudes = relative_magnitudes(request);
  join_groups(active, request.group_of);
  join_groups(magnitudes, request.group_of);
  std::vector<float> best(n, 1.0F), scales(n);
  double best_loss = loss_of(request, best, machine);
  for (const bool duo : {false, true})
    for (int step = 1; step <= kGrid; ++step) {
      const float alpha = static_cast<float>(step) / kGrid;
      for (std::size_t i = 0; i < n; ++i) {
        const float floor = std::max(active[i], 1e-4F);
        scales[i] = duo ? std::pow(floor, alpha) / std::pow(magnitudes[i], 1 - alpha) : std::pow(floor, alpha);
      }
      normalise(scales);
      const double loss = loss_of(request, scales, machine);
      if (!(loss < best_loss)) continue;
      best_loss = loss;
      best = scales;
    }
  return best;
}

std::vector<float> smoothquant_scales(const ScaleRequest& request, double alpha) {
  const std::size_t n = request.site->width();
  std::vector<float> peaks = request.site->absmax, weights(n), scales(n);
  // Importance matrices know no peaks: four times the root mean square stands for them.
  if (peaks.empty())
    for (const float square : request.site->mean_square) peaks.push_back(4 * std::sqrt(square));
  for (const ScaledLinear& linear : request.linears)
    for (std::uint64_t row = 0; row < linear.rows; ++row)
      for (std::size_t i = 0; i < n; ++i) weights[i] = std::max(weights[i], std::fabs(linear.weights[row * n + i]));
  join_groups(peaks, request.group_of);
  join_groups(weights, request.group_of);
  const auto power = static_cast<float>(alpha);
  for (std::size_t i = 0; i < n; ++i)
    scales[i] = std::pow(std::max(peaks[i], 1e-5F), power) / std::pow(std::max(weights[i], 1e-5F), 1 - power);
  normalise(scales);
  return scales;
}

}  // namespace nibble
