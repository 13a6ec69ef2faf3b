// SPDX-License-Identifier: Apache-2.0
#include "graph/op/route.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {

Dimensions Route::output(std::span<const Dimensions> inputs) const {
  require_drawable(used > 0 && used <= width_of(inputs[0]), kName, "more experts used than there are");
  return inputs[0];
}

std::vector<WeightUse> Route::weights(std::span<const Dimensions> inputs) const {
  if (scales.empty()) return {};
  return {{scales, TensorRole::norm, {width_of(inputs[0])}}};  // factors, as norms have them
}

// Not linear.
std::vector<ScalePassage> Route::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Route::cost(std::span<const Dimensions> inputs) const { return {.per_token = 8 * width_of(inputs[0])}; }

OnnxSpelling Route::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("experts that tokens are sent to would all be computed for every token");
  return s;
}

void Route::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t experts = width_of(inputs[0]);
  std::vector<std::uint64_t> order(experts);
  for (std::size_t t = 0; t < operands.tokens; ++t) {
    const std::span<const float> logits = operands.inputs[0].subspan(t * experts, experts);
    const std::span<float> weights = output.subspan(t * experts, experts);
    std::iota(order.begin(), order.end(), std::uint64_t{0});
    std::ranges::sort(order, [&](std::uint64_t a, std::uint64_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    double sum = 0, chosen = 0;
    for (std::uint64_t i = 0; i < experts; ++i) {
      const double p = std::exp(static_cast<double>(logits[order[i]]) - static_cast<double>(logits[order[0]]));
      sum += p;
      if (i < used) chosen += p;
    }
    std::ranges::fill(weights, 0.0f);
    for (std::uint64_t i = 0; i < used; ++i)
      weights[order[i]] =
          static_cast<float>(std::exp(static_cast<double>(logits[order[i]]) - static_cast<double>(logits[order[0]])) /
                             (normalizes ? chosen : sum));
    for (std::uint64_t e = 0; e < experts && !scales.empty(); ++e) weights[e] *= operands.weight(scales)[e];
  }
}

}  // namespace nibble
