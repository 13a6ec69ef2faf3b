// SPDX-License-Identifier: Apache-2.0
#include "graph/op/causal_convolution.h"

namespace nibble {

Dimensions CausalConvolution::output(std::span<const Dimensions> inputs) const {
  require_drawable(taps > 0 && taps <= kMostTaps, kName, "no taps, or too many");
  return inputs[0];
}

std::vector<WeightUse> CausalConvolution::weights(std::span<const Dimensions> inputs) const {
  return {{part, TensorRole::coefficients, {width_of(inputs[0]), taps}}};
}

// Tokens are mixed, not channels: a factor may stand on the taps of its channel or before them.
std::vector<ScalePassage> CausalConvolution::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = part, .channel_of = {}}, {.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost CausalConvolution::cost(std::span<const Dimensions> inputs) const {
  return {.per_token = taps * width_of(inputs[0])};
}

std::uint64_t CausalConvolution::state_size(std::span<const Dimensions> inputs) const {
  return (taps - 1) * width_of(inputs[0]);
}

OnnxSpelling CausalConvolution::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("no runtime here keeps the last inputs of a convolution between steps");
  return s;
}

void CausalConvolution::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                                 std::span<float> output) const {
  const std::uint64_t width = width_of(inputs[0]);
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t c = 0; c < width; ++c) {
      double sum = 0;
      for (std::uint64_t back = 0; back < taps && back <= t; ++back)
        sum += static_cast<double>(w[c * taps + taps - 1 - back]) * static_cast<double>(x[(t - back) * width + c]);
      output[t * width + c] = static_cast<float>(sum);
    }
}

void CausalConvolution::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                                 std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t width = width_of(inputs[0]);
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  const std::span<float> by_x = into.inputs[0], by_taps = into.weight(part);
  for (std::size_t i = 0; i < by_x.size(); ++i) {
    double sum = 0;
    for (std::uint64_t back = 0; back < taps && i + back * width < by_x.size(); ++back)
      sum += static_cast<double>(w[i % width * taps + taps - 1 - back]) *
             static_cast<double>(output_gradient[i + back * width]);
    by_x[i] += static_cast<float>(sum);
  }
  for (std::size_t i = 0; i < by_taps.size(); ++i) {
    const std::size_t channel = i / taps, back = taps - 1 - i % taps;
    double sum = 0;
    for (std::size_t t = back; t < operands.tokens; ++t)
      sum += static_cast<double>(output_gradient[t * width + channel]) *
             static_cast<double>(x[(t - back) * width + channel]);
    by_taps[i] += static_cast<float>(sum);
  }
}

}  // namespace nibble
