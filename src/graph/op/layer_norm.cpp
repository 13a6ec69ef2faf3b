// SPDX-License-Identifier: Apache-2.0
#include "graph/op/layer_norm.h"

#include <cmath>

#include "graph/extents.h"

namespace nibble {

Dimensions LayerNorm::output(std::span<const Dimensions> inputs) const {
  require_drawable(axis < inputs[0].size(), kName, "a dimension that is not there");
  return inputs[0];
}

std::vector<WeightUse> LayerNorm::weights(std::span<const Dimensions> inputs) const {
  if (part.empty()) return {};
  const Extents extents = extents_of(inputs[0]);
  const Shape shape(extents.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(axis, extents.size())),
                    extents.end());
  std::vector<WeightUse> uses = {{part, TensorRole::norm, shape}};
  if (has_bias) uses.push_back({part + ".bias", TensorRole::bias, shape});
  return uses;
}

// Gain and bias take a factor.
std::vector<ScalePassage> LayerNorm::scale_passages(std::span<const Dimensions>) const {
  if (part.empty()) return {};
  return {{.absorber = part, .channel_of = {}}};
}

Cost LayerNorm::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling LayerNorm::onnx(std::span<const Dimensions> inputs) const {
  OnnxSpelling s;
  if (part.empty()) {
    std::vector<std::int64_t> axes;
    for (std::size_t i = axis; i < inputs[0].size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
    const auto centred = s.apply("Sub", {s.input(0), s.apply("ReduceMean", {s.input(0), s.integers(axes)})});
    const auto squares = s.apply("ReduceMean", {s.apply("Mul", {centred, centred}), s.integers(axes)});
    s.apply("Div", {centred, s.apply("Sqrt", {s.apply("Add", {squares, s.number(epsilon)})})});
    return s;
  }
  std::vector<OnnxOperand> operands = {s.input(0), s.weight(part)};
  if (has_bias) operands.push_back(s.weight(part + ".bias"));
  s.apply("LayerNormalization", std::move(operands), {{"axis", static_cast<std::int64_t>(axis)}, {"epsilon", epsilon}});
  return s;
}

void LayerNorm::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Extents extents = extents_of(inputs[0]);
  const std::size_t length = numbers_of(std::span(extents).subspan(axis));
  if (output.empty()) return;
  const std::span<const float> gain = part.empty() ? std::span<const float>{} : operands.weight(part);
  const std::span<const float> bias = has_bias ? operands.weight(part + ".bias") : std::span<const float>{};
  for (std::size_t row = 0; row < output.size() / length; ++row) {
    const float* const x = &operands.inputs[0][row * length];
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < length; ++i) mean += static_cast<double>(x[i]);
    mean /= static_cast<double>(length);
    for (std::size_t i = 0; i < length; ++i)
      variance += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
    const double factor = 1 / std::sqrt(variance / static_cast<double>(length) + static_cast<double>(epsilon));
    for (std::size_t i = 0; i < length; ++i) {
      double y = (static_cast<double>(x[i]) - mean) * factor;
      if (!gain.empty()) y *= static_cast<double>(gain[i]);
      if (!bias.empty()) y += static_cast<double>(bias[i]);
      output[row * length + i] = static_cast<float>(y);
    }
  }
}

}  // namespace nibble
