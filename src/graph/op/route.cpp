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

namespace {

// The softmax of a token's logits, in f64, and its experts in the order of their logits.
struct Chances {
  std::vector<std::uint64_t> order;
  std::vector<double> exponentials;  // by place in the order
  double sum = 0, chosen = 0;        // of all, and of the first `used`

  Chances(std::span<const float> logits, std::uint64_t used) : order(logits.size()), exponentials(logits.size()) {
    std::iota(order.begin(), order.end(), std::uint64_t{0});
    std::ranges::sort(order, [&](std::uint64_t a, std::uint64_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    for (std::uint64_t i = 0; i < logits.size(); ++i) {
      exponentials[i] = std::exp(static_cast<double>(logits[order[i]]) - static_cast<double>(logits[order[0]]));
      sum += exponentials[i];
      if (i < used) chosen += exponentials[i];
    }
  }
};

}  // namespace

void Route::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t experts = width_of(inputs[0]);
  for (std::size_t t = 0; t < operands.tokens; ++t) {
    const Chances chances(operands.inputs[0].subspan(t * experts, experts), used);
    const std::span<float> weights = output.subspan(t * experts, experts);
    std::ranges::fill(weights, 0.0f);
    for (std::uint64_t i = 0; i < used; ++i)
      weights[chances.order[i]] =
          static_cast<float>(chances.exponentials[i] / (normalizes ? chances.chosen : chances.sum));
    for (std::uint64_t e = 0; e < experts && !scales.empty(); ++e) weights[e] *= operands.weight(scales)[e];
  }
}

// By the chosen experts' weights. Which ones are chosen has no gradient: a small step changes it nowhere, or at once.
void Route::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                     std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t experts = width_of(inputs[0]);
  const std::span<const float> factors = scales.empty() ? std::span<const float>{} : operands.weight(scales);
  const std::span<float> by_logits = into.inputs[0],
                         by_factors = scales.empty() ? std::span<float>{} : into.weight(scales);
  std::vector<double> sums(by_factors.size());
  for (std::size_t t = 0; t < operands.tokens; ++t) {
    const Chances chances(operands.inputs[0].subspan(t * experts, experts), used);
    const double total = normalizes ? chances.chosen : chances.sum;
    const auto by_share = [&](std::uint64_t i) {  // of the i-th of the order, before it is scaled
      const std::uint64_t e = chances.order[i];
      return static_cast<double>(output_gradient[t * experts + e]) *
             (factors.empty() ? 1 : static_cast<double>(factors[e]));
    };
    double mean = 0;
    for (std::uint64_t i = 0; i < used; ++i) mean += by_share(i) * chances.exponentials[i] / total;
    for (std::uint64_t i = 0; i < (normalizes ? used : experts) && !by_logits.empty(); ++i)
      by_logits[t * experts + chances.order[i]] +=
          static_cast<float>(chances.exponentials[i] / total * ((i < used ? by_share(i) : 0) - mean));
    for (std::uint64_t i = 0; i < used && !sums.empty(); ++i)
      sums[chances.order[i]] +=
          static_cast<double>(output_gradient[t * experts + chances.order[i]]) * chances.exponentials[i] / total;
  }
  for (std::size_t e = 0; e < sums.size(); ++e) by_factors[e] += static_cast<float>(sums[e]);
}

}  // namespace nibble
