// SPDX-License-Identifier: Apache-2.0
#include "graph/op/transposed_convolution.h"

#include "graph/extents.h"
#include "graph/op/channel_planes.h"

namespace nibble {

Dimensions TransposedConvolution::output(std::span<const Dimensions> inputs) const {
  const Dimensions& x = inputs[0];
  window.require_fit(x, kName);
  require_drawable(further.size() == window.rank(), kName, "extents of which not all is said");
  require_drawable(groups > 0 && outputs > 0 && x[1].extent % groups == 0 && outputs % groups == 0, kName,
                   "channels that are not whole groups");
  Dimensions shape = x;
  shape[1].extent = outputs;
  for (std::size_t i = 0; i < window.rank(); ++i) {
    require_drawable(x[i + 2].extent > 0, kName, "an input without numbers");
    const std::uint64_t whole =
        (x[i + 2].extent - 1) * window.strides[i] + (window.taps[i] - 1) * window.dilations[i] + 1 + further[i];
    require_drawable(window.before[i] + window.behind[i] < whole, kName, "pads that leave nothing");
    shape[i + 2].extent = whole - window.before[i] - window.behind[i];
  }
  return shape;
}

std::vector<WeightUse> TransposedConvolution::weights(std::span<const Dimensions> inputs) const {
  Shape shape = {inputs[0][1].extent, outputs / groups};
  shape.insert(shape.end(), window.taps.begin(), window.taps.end());
  std::vector<WeightUse> uses = {{part, TensorRole::linear, std::move(shape)}};
  if (has_bias) uses.push_back({bias(), TensorRole::bias, {outputs}});
  return uses;
}

// Outputs lie in the second dimension of the weights.
std::vector<ScalePassage> TransposedConvolution::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost TransposedConvolution::cost(std::span<const Dimensions> inputs) const {
  return {.whole = numbers_of(inputs[0]) * (outputs / groups) * window.num_taps()};
}

OnnxSpelling TransposedConvolution::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  std::vector<OnnxOperand> operands = {s.input(0), s.weight(part)};
  if (has_bias) operands.push_back(s.weight(bias()));
  std::vector<OnnxSetting> settings = {{"group", static_cast<std::int64_t>(groups)},
                                       {"output_padding", std::vector<std::int64_t>(further.begin(), further.end())}};
  window.spell(settings);
  s.apply("ConvTranspose", std::move(operands), std::move(settings));
  return s;
}

void TransposedConvolution::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                                     std::span<float> output) const {
  const Dimensions made = this->output(inputs);
  const Window::Plane p = window.plane(inputs[0]);
  const std::size_t out_width = static_cast<std::size_t>(made.back().extent);
  const std::size_t out_height = made.size() == 3 ? 1 : static_cast<std::size_t>(made[2].extent);
  const std::size_t channels = static_cast<std::size_t>(inputs[0][1].extent), num_outputs = made[1].extent;
  const std::size_t out_group = num_outputs / groups;
  const std::size_t out_plane = out_width * out_height, in_plane = p.width * p.height, taps = p.tap_rows * p.tap_cols;
  const std::span<const float> w = operands.weight(part);
  const std::span<const float> b = has_bias ? operands.weight(bias()) : std::span<const float>{};
  const auto add_tap = [&](const float* plane, double factor, std::size_t tap, double* sums) {
    const auto row_shift = static_cast<std::ptrdiff_t>(tap / p.tap_cols) * p.row_step - p.top;
    const auto col_shift = static_cast<std::ptrdiff_t>(tap % p.tap_cols) * p.col_step - p.left;
    const auto rows = places_within(static_cast<std::ptrdiff_t>(p.height), p.row_stride, row_shift,
                                    static_cast<std::ptrdiff_t>(out_height));
    const auto cols = places_within(static_cast<std::ptrdiff_t>(p.width), p.col_stride, col_shift,
                                    static_cast<std::ptrdiff_t>(out_width));
    for (std::ptrdiff_t row = rows.first; row < rows.end; ++row)
      for (std::ptrdiff_t col = cols.first; col < cols.end; ++col)
        sums[(row * p.row_stride + row_shift) * static_cast<std::ptrdiff_t>(out_width) + col * p.col_stride +
             col_shift] += factor * static_cast<double>(plane[row * static_cast<std::ptrdiff_t>(p.width) + col]);
  };
  const auto weight_at = [&](std::size_t c, std::size_t o, std::size_t tap) {
    return (c * out_group + o % out_group) * taps + tap;
  };
  sum_channel_planes({channels, num_outputs, groups, in_plane, out_plane, taps}, operands, w, b, weight_at, add_tap,
                     output);
}

}  // namespace nibble
