// SPDX-License-Identifier: Apache-2.0
#include "graph/op/route.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace nibble {

Dimensions Route::output(std::span<const Dimensions> inputs) const {
  const std::uint64_t experts = width_of(inputs[0]);
  require_drawable(used > 0 && used <= experts, kName, "more experts used than there are");
  require_drawable(groups > 0 && experts % groups == 0, kName, "groups that do not share the experts evenly");
  require_drawable(groups_used > 0 && groups_used <= groups && used <= groups_used * (experts / groups), kName,
                   "more experts used than the groups kept have");
  require_drawable(groups == 1 || group_score == GroupScore::largest || experts / groups >= 2, kName,
                   "groups of fewer experts than count");
  require_drawable(score == Score::sigmoid || !normalizes || sum_offset == 0, kName, "an offset beside softmax");
  return inputs[0];
}

std::vector<WeightUse> Route::weights(std::span<const Dimensions> inputs) const {
  std::vector<WeightUse> uses;
  if (!scales.empty())
    uses.push_back({scales, TensorRole::norm, {width_of(inputs[0])}});  // factors, as norms have them
  if (!correction.empty()) uses.push_back({correction, TensorRole::bias, {width_of(inputs[0])}});
  return uses;
}

// Not linear.
std::vector<ScalePassage> Route::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Route::cost(std::span<const Dimensions> inputs) const { return {.per_token = 8 * width_of(inputs[0])}; }

OnnxSpelling Route::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("experts that tokens are sent to would all be computed for every token");
  return s;
}

void Route::choose(std::span<const float> logits, std::span<const float> correction_numbers, Choice& choice) const {
  const std::uint64_t experts = logits.size(), each = experts / groups;
  const double largest = static_cast<double>(*std::ranges::max_element(logits));
  choice.shares.resize(experts);
  double sum = 0;
  for (std::uint64_t e = 0; e < experts; ++e) {
    const double logit = static_cast<double>(logits[e]);
    sum += choice.shares[e] = score == Score::softmax ? std::exp(logit - largest) : 1 / (1 + std::exp(-logit));
  }
  // Scores grow with logits, which tell apart what scores no longer do.
  const bool is_by_score = !correction_numbers.empty() || (groups > 1 && group_score == GroupScore::two_largest);
  choice.keys.assign(logits.begin(), logits.end());
  for (std::uint64_t e = 0; e < experts && is_by_score; ++e)
    choice.keys[e] = choice.shares[e] / (score == Score::softmax ? sum : 1) +
                     (correction_numbers.empty() ? 0 : static_cast<double>(correction_numbers[e]));
  const auto is_before = [](const std::vector<double>& keys) {
    return [&keys](std::uint64_t a, std::uint64_t b) { return keys[a] != keys[b] ? keys[a] > keys[b] : a < b; };
  };
  choice.order.resize(experts);
  std::iota(choice.order.begin(), choice.order.end(), std::uint64_t{0});
  std::uint64_t candidates = experts;
  if (groups > 1) {
    std::vector<double> best(groups);
    for (std::uint64_t g = 0; g < groups; ++g) {
      std::vector<double> own(choice.keys.begin() + static_cast<std::ptrdiff_t>(g * each),
                              choice.keys.begin() + static_cast<std::ptrdiff_t>((g + 1) * each));
      const std::size_t counted = group_score == GroupScore::largest ? 1 : 2;
      std::ranges::partial_sort(own, own.begin() + static_cast<std::ptrdiff_t>(counted), std::greater<>());
      best[g] = std::accumulate(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(counted), 0.0);
    }
    std::vector<std::uint64_t> kept(groups);
    std::iota(kept.begin(), kept.end(), std::uint64_t{0});
    std::ranges::sort(kept, is_before(best));
    std::vector<bool> is_kept(groups);
    for (std::uint64_t i = 0; i < groups_used; ++i) is_kept[kept[i]] = true;
    std::ranges::partition(choice.order, [&](std::uint64_t e) { return is_kept[e / each]; });
    candidates = groups_used * each;
  }
  std::partial_sort(choice.order.begin(), choice.order.begin() + static_cast<std::ptrdiff_t>(used),
                    choice.order.begin() + static_cast<std::ptrdiff_t>(candidates), is_before(choice.keys));
  if (normalizes) {
    sum = 0;
    for (std::uint64_t i = 0; i < used; ++i) sum += choice.shares[choice.order[i]];
    choice.total = sum + static_cast<double>(sum_offset);
  } else {
    choice.total = score == Score::softmax ? sum : 1;
  }
}

void Route::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t experts = width_of(inputs[0]);
  const std::span<const float> corrections =
      correction.empty() ? std::span<const float>{} : operands.weight(correction);
  Choice choice;
  for (std::size_t t = 0; t < operands.tokens; ++t) {
    choose(operands.inputs[0].subspan(t * experts, experts), corrections, choice);
    const std::span<float> weights = output.subspan(t * experts, experts);
    std::ranges::fill(weights, 0.0f);
    for (std::uint64_t i = 0; i < used; ++i) {
      const std::uint64_t e = choice.order[i];
      weights[e] = static_cast<float>(choice.shares[e] / choice.total * static_cast<double>(factor));
    }
    for (std::uint64_t e = 0; e < experts && !scales.empty(); ++e) weights[e] *= operands.weight(scales)[e];
  }
}

// By the chosen experts' weights. Which ones are chosen has no gradient: a small step changes it nowhere, or at once.
void Route::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                     std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t experts = width_of(inputs[0]);
  const std::span<const float> scale_numbers = scales.empty() ? std::span<const float>{} : operands.weight(scales),
                               corrections =
                                   correction.empty() ? std::span<const float>{} : operands.weight(correction);
  const std::span<float> by_logits = into.inputs[0],
                         by_scales = scales.empty() ? std::span<float>{} : into.weight(scales);
  std::vector<double> sums(by_scales.size()), by_share(experts);
  Choice choice;
  for (std::size_t t = 0; t < operands.tokens; ++t) {
    choose(operands.inputs[0].subspan(t * experts, experts), corrections, choice);
    std::ranges::fill(by_share, 0.0);
    double mean = 0;  // of what shares are worth, by the shares
    for (std::uint64_t i = 0; i < used; ++i) {
      const std::uint64_t e = choice.order[i];
      const double by_weight = static_cast<double>(output_gradient[t * experts + e]) * static_cast<double>(factor);
      by_share[e] = by_weight * (scale_numbers.empty() ? 1 : static_cast<double>(scale_numbers[e]));
      mean += by_share[e] * choice.shares[e] / choice.total;
      if (!sums.empty()) sums[e] += by_weight * choice.shares[e] / choice.total;
    }
    // A logit moves its own share, and the sum that it is part of.
    for (std::uint64_t i = 0; i < (normalizes || score == Score::sigmoid ? used : experts) && !by_logits.empty(); ++i) {
      const std::uint64_t e = choice.order[i];
      const double share = choice.shares[e], slope = score == Score::softmax ? 1 : 1 - share;
      const bool is_in_sum = normalizes || score == Score::softmax;
      by_logits[t * experts + e] +=
          static_cast<float>(share / choice.total * slope * (by_share[e] - (is_in_sum ? mean : 0)));
    }
  }
  for (std::size_t e = 0; e < sums.size(); ++e) by_scales[e] += static_cast<float>(sums[e]);
}

}  // namespace nibble
