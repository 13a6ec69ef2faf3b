// SPDX-License-Identifier: Apache-2.0
#include "graph/op/batch_norm.h"

#include <cmath>

#include "graph/extents.h"

namespace nibble {

Dimensions BatchNorm::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs[0].size() >= 2, kName, "an input without channels");
  return inputs[0];
}

std::vector<WeightUse> BatchNorm::weights(std::span<const Dimensions> inputs) const {
  const Shape shape = {inputs[0][1].extent};
  return {{part, TensorRole::norm, shape},
          {part + ".bias", TensorRole::bias, shape},
          {part + ".mean", TensorRole::coefficients, shape},
          {part + ".variance", TensorRole::coefficients, shape}};
}

// Gain and bias take a factor.
std::vector<ScalePassage> BatchNorm::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = part, .channel_of = {}}};
}

Cost BatchNorm::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling BatchNorm::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply(
      "BatchNormalization",
      {s.input(0), s.weight(part), s.weight(part + ".bias"), s.weight(part + ".mean"), s.weight(part + ".variance")},
      {{"epsilon", epsilon}});
  return s;
}

void BatchNorm::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::span<const float> gain = operands.weight(part), bias = operands.weight(part + ".bias"),
                               mean = operands.weight(part + ".mean"), variance = operands.weight(part + ".variance");
  const std::size_t channels = gain.size();
  if (output.empty()) return;
  const std::size_t plane = numbers_of(inputs[0]) / (inputs[0][0].extent * channels);
  for (std::size_t i = 0; i < output.size() / plane; ++i) {
    const std::size_t c = i % channels;
    const double factor =
        static_cast<double>(gain[c]) / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(epsilon));
    for (std::size_t j = i * plane; j < (i + 1) * plane; ++j)
      output[j] =
          static_cast<float>((static_cast<double>(operands.inputs[0][j]) - static_cast<double>(mean[c])) * factor +
                             static_cast<double>(bias[c]));
  }
}

}  // namespace nibble
