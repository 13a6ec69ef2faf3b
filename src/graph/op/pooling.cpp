// SPDX-License-Identifier: Apache-2.0
#include "graph/op/pooling.h"

#include <algorithm>
#include <limits>

#include "graph/extents.h"

namespace nibble {

Dimensions Pooling::output(std::span<const Dimensions> inputs) const {
  const Dimensions& x = inputs[0];
  window.require_fit(x, kName);
  Dimensions shape = x;
  for (std::size_t i = 0; i < window.rank(); ++i)
    shape[i + 2].extent = window.places(i, x[i + 2].extent, rounds_up, kName);
  return shape;
}

std::vector<WeightUse> Pooling::weights(std::span<const Dimensions>) const { return {}; }

// Channels keep to themselves; factors are positive.
std::vector<ScalePassage> Pooling::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost Pooling::cost(std::span<const Dimensions> inputs) const {
  return {.whole = numbers_of(output(inputs)) * window.num_taps()};
}

OnnxSpelling Pooling::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  std::vector<OnnxSetting> settings = {{"ceil_mode", static_cast<std::int64_t>(rounds_up)}};
  window.spell(settings);
  if (kind == Kind::average) settings.push_back({"count_include_pad", static_cast<std::int64_t>(counts_pads)});
  s.apply(kind == Kind::average ? "AveragePool" : "MaxPool", {s.input(0)}, std::move(settings));
  return s;
}

void Pooling::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Dimensions made = this->output(inputs);
  const Window::Plane p = window.plane(inputs[0]);
  const auto out_width = static_cast<std::ptrdiff_t>(made.back().extent);
  const auto out_height = made.size() == 3 ? 1 : static_cast<std::ptrdiff_t>(made[2].extent);
  const auto height = static_cast<std::ptrdiff_t>(p.height), width = static_cast<std::ptrdiff_t>(p.width);
  const std::size_t out_plane = static_cast<std::size_t>(out_height * out_width);
  if (out_plane == 0) return;
  const auto pool = [&](const float* plane, std::ptrdiff_t row, std::ptrdiff_t col) {
    const std::ptrdiff_t top = row * p.row_stride - p.top, left = col * p.col_stride - p.left;
    double sum = 0;
    float largest = -std::numeric_limits<float>::infinity();
    std::uint64_t count = 0;
    for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(p.tap_rows); ++i)
      for (std::ptrdiff_t j = 0; j < static_cast<std::ptrdiff_t>(p.tap_cols); ++j) {
        const std::ptrdiff_t y = top + i * p.row_step, x = left + j * p.col_step;
        const bool is_inside = y >= 0 && y < height && x >= 0 && x < width;
        const bool is_pad = !is_inside && y < height + p.bottom && x < width + p.right;
        if (is_inside || (is_pad && counts_pads)) ++count;
        if (!is_inside) continue;
        sum += static_cast<double>(plane[y * width + x]);
        largest = std::max(largest, plane[y * width + x]);
      }
    if (kind == Kind::maximum) return largest;
    return count == 0 ? 0.0F : static_cast<float>(sum / static_cast<double>(count));
  };
  const auto make = [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t at = begin; at < end; ++at)
      for (std::ptrdiff_t row = 0; row < out_height; ++row)
        for (std::ptrdiff_t col = 0; col < out_width; ++col)
          output[at * out_plane + static_cast<std::size_t>(row * out_width + col)] =
              pool(operands.inputs[0].data() + at * p.height * p.width, row, col);
  };
  const std::size_t planes = output.size() / out_plane;
  if (operands.pool != nullptr) return operands.pool->parallel_for(planes, 1, make);
  make(0, planes, 0);
}

}  // namespace nibble
