// SPDX-License-Identifier: Apache-2.0
#include "graph/op/convolution.h"

#include "graph/extents.h"
#include "graph/op/channel_planes.h"

namespace nibble {

Dimensions Convolution::output(std::span<const Dimensions> inputs) const {
  const Dimensions& x = inputs[0];
  window.require_fit(x, kName);
  require_drawable(groups > 0 && outputs > 0 && x[1].extent % groups == 0 && outputs % groups == 0, kName,
                   "channels that are not whole groups");
  Dimensions shape = x;
  shape[1].extent = outputs;
  for (std::size_t i = 0; i < window.rank(); ++i) shape[i + 2].extent = window.places(i, x[i + 2].extent, false, kName);
  return shape;
}

std::vector<WeightUse> Convolution::weights(std::span<const Dimensions> inputs) const {
  Shape shape = {outputs, inputs[0][1].extent / groups};
  shape.insert(shape.end(), window.taps.begin(), window.taps.end());
  std::vector<WeightUse> uses = {{part, TensorRole::linear, std::move(shape)}};
  if (has_bias) uses.push_back({bias(), TensorRole::bias, {outputs}});
  return uses;
}

// Each output has weights and a bias of its own.
std::vector<ScalePassage> Convolution::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = part, .channel_of = {}}};
}

Cost Convolution::cost(std::span<const Dimensions> inputs) const {
  return {.whole = numbers_of(output(inputs)) * (inputs[0][1].extent / groups) * window.num_taps()};
}

OnnxSpelling Convolution::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  std::vector<OnnxOperand> operands = {s.input(0), s.weight(part)};
  if (has_bias) operands.push_back(s.weight(bias()));
  std::vector<OnnxSetting> settings = {{"group", static_cast<std::int64_t>(groups)}};
  window.spell(settings);
  s.apply("Conv", std::move(operands), std::move(settings));
  return s;
}

// Every tap adds a shifted plane: the inner loop is over neighbours.
void Convolution::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                           std::span<float> output) const {
  const Dimensions made = this->output(inputs);
  const Window::Plane p = window.plane(inputs[0]);
  const std::size_t out_width = static_cast<std::size_t>(made.back().extent);
  const std::size_t out_height = made.size() == 3 ? 1 : static_cast<std::size_t>(made[2].extent);
  const std::size_t channels = static_cast<std::size_t>(inputs[0][1].extent), num_outputs = made[1].extent;
  const std::size_t in_group = channels / groups;
  const std::size_t out_plane = out_width * out_height, in_plane = p.width * p.height, taps = p.tap_rows * p.tap_cols;
  const std::span<const float> w = operands.weight(part);
  const std::span<const float> b = has_bias ? operands.weight(bias()) : std::span<const float>{};
  const bool is_flat = taps == 1 && p.row_stride == 1 && p.col_stride == 1 && out_plane == in_plane;
  const auto add_tap = [&](const float* plane, double factor, std::size_t tap, double* sums) {
    if (is_flat) {
      for (std::size_t i = 0; i < out_plane; ++i) sums[i] += factor * static_cast<double>(plane[i]);
      return;
    }
    const auto row_shift = static_cast<std::ptrdiff_t>(tap / p.tap_cols) * p.row_step - p.top;
    const auto col_shift = static_cast<std::ptrdiff_t>(tap % p.tap_cols) * p.col_step - p.left;
    const auto rows = places_within(static_cast<std::ptrdiff_t>(out_height), p.row_stride, row_shift,
                                    static_cast<std::ptrdiff_t>(p.height));
    const auto cols = places_within(static_cast<std::ptrdiff_t>(out_width), p.col_stride, col_shift,
                                    static_cast<std::ptrdiff_t>(p.width));
    const auto count = static_cast<std::size_t>(cols.end - cols.first);
    if (count == 0) return;
    for (std::ptrdiff_t row = rows.first; row < rows.end; ++row) {
      const float* const from = plane + (row * p.row_stride + row_shift) * static_cast<std::ptrdiff_t>(p.width) +
                                cols.first * p.col_stride + col_shift;
      double* const to = sums + static_cast<std::size_t>(row) * out_width + cols.first;
      if (p.col_stride == 1)
        for (std::size_t i = 0; i < count; ++i) to[i] += factor * static_cast<double>(from[i]);
      else
        for (std::size_t i = 0; i < count; ++i)
          to[i] += factor * static_cast<double>(from[static_cast<std::ptrdiff_t>(i) * p.col_stride]);
    }
  };
  const auto weight_at = [&](std::size_t c, std::size_t o, std::size_t tap) {
    return (o * in_group + c % in_group) * taps + tap;
  };
  sum_channel_planes({channels, num_outputs, groups, in_plane, out_plane, taps}, operands, w, b, weight_at, add_tap,
                     output);
}

}  // namespace nibble
