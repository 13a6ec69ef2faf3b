// SPDX-License-Identifier: Apache-2.0
#include "train/token_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/progress_meter.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// Of one Linear: the squares of its outputs' gradients, summed over the outputs of each group, of all tokens.
struct Squares {
  std::int64_t layer = 0;
  std::string site;
  std::vector<float> by_token;  // [groups, tokens]
};

// gradient: [tokens, width] of the tokens from `first` on.
void add_squares(std::span<const float> gradient, std::size_t first, std::size_t tokens, std::size_t groups,
                 std::span<float> by_token, ThreadPool& pool) {
  const std::size_t width = gradient.size() / tokens, all = by_token.size() / groups;
  pool.parallel_for(tokens, 32, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t)
      for (std::size_t group = 0; group < groups; ++group) {
        double sum = 0;
        for (std::uint64_t i = begin_of_group(width, groups, group); i < begin_of_group(width, groups, group + 1); ++i)
          sum += static_cast<double>(gradient[t * width + i]) * static_cast<double>(gradient[t * width + i]);
        by_token[group * all + first + t] = static_cast<float>(sum);
      }
  });
}

}  // namespace

void normalize_weights(std::span<float> weights) {
  double sum = 0;
  for (const float weight : weights) sum += static_cast<double>(weight);
  const double factor = sum > 0 ? static_cast<double>(weights.size()) / sum : 0;
  for (float& weight : weights) weight = static_cast<float>(factor * static_cast<double>(weight));
}

void UnequalShares::add(double share) {
  sum += share;
  squares += share * share;
}

double UnequalShares::trust(std::size_t width) const {
  constexpr double kTokensAColumn = 0.5;
  const double tokens = squares > 0 ? sum * sum / squares : 0;
  return tokens / (tokens + kTokensAColumn * static_cast<double>(width));
}

void temper_weights(std::span<float> weights, std::size_t width) {
  UnequalShares shares;
  for (const float weight : weights) shares.add(static_cast<double>(weight));
  const double trust = shares.trust(width);
  for (float& weight : weights) weight = static_cast<float>(trust * static_cast<double>(weight) + 1 - trust);
}

std::span<const float> TokenWeights::of(std::int64_t layer, std::string_view place, std::size_t window,
                                        std::size_t group) const {
  const auto found = by_place_.find({layer, std::string(place)});
  if (found == by_place_.end()) return {};
  const std::size_t all = found->second.size() / groups_;
  return std::span(found->second).subspan(group * all + window * length_, length_);
}

TokenWeights find_token_weights(const SourceModel& model, const CalibrationTokens& tokens,
                                const TokenWeightOptions& options, Machine& machine) {
  NetworkWeights weights(model, machine.pool);
  std::map<std::pair<std::int64_t, std::string>, Squares> found;  // by layer and part
  std::size_t first = 0, count = 0;                               // tokens of the windows at hand
  const auto watch = [&](std::int64_t layer, const Linear& op, std::span<const float>,
                         std::span<const float> gradient) {
    if (op.role != TensorRole::linear) return;
    Squares& squares = found[{layer, op.part}];
    squares.layer = layer;
    squares.site = op.site;
    squares.by_token.resize(options.groups * tokens.ids.size());
    add_squares(gradient, first, count, options.groups, squares.by_token, machine.pool);
  };
  Tape tape(model.parts().network(), weights, {.arithmetic = options.arithmetic, .watch = watch}, machine);
  ProgressMeter meter(options.progress, "gradients", tokens.windows());
  const auto watching = meter.watch(machine.pool);
  meter.report(0);
  const std::size_t length = static_cast<std::size_t>(tokens.length);
  for (std::size_t window = 0; window < tokens.windows(); window += options.windows_at_a_time) {
    const std::size_t windows = std::min(options.windows_at_a_time, tokens.windows() - window);
    first = window * length, count = windows * length;
    const std::span<const std::int32_t> ids = std::span(tokens.ids).subspan(first, count);
    const std::vector<std::int32_t> targets = following_tokens(ids, length);
    const LossFunction of_tokens = options.targets == TokenTargets::text
                                       ? next_token_loss(targets, machine)
                                       : own_token_loss({.seed = 1, .first_token = first, .tokens = count}, machine);
    const double loss = tape.run(ids, {windows, length}, of_tokens, Tape::Walk::there_and_back);
    if (!std::isfinite(loss))
      throw Error(ErrorKind::corrupt,
                  fmt::format("the loss of window {} of the calibration text is not finite; repair the model: {}",
                              window, loss));
    // Losses are means of the windows at hand: the last ones may be fewer.
    for (auto& [part, squares] : found)
      for (std::size_t group = 0; group < options.groups; ++group)
        for (std::size_t t = first; t < first + count; ++t)
          squares.by_token[group * tokens.ids.size() + t] *= static_cast<float>(windows) * static_cast<float>(windows);
    meter.report(window + windows);
  }
  TokenWeights::ByPlace weights_of;
  if (options.groups > 1) {
    for (auto& [place, squares] : found) {
      for (std::size_t group = 0; group < options.groups; ++group)
        normalize_weights(std::span(squares.by_token).subspan(group * tokens.ids.size(), tokens.ids.size()));
      weights_of.emplace(place, std::move(squares.by_token));
    }
    return {length, options.groups, std::move(weights_of)};
  }
  for (auto& [place, squares] : found) {
    normalize_weights(squares.by_token);
    std::vector<float>& site = weights_of[{squares.layer, squares.site}];
    site.resize(squares.by_token.size());
    for (std::size_t t = 0; t < site.size(); ++t) site[t] += squares.by_token[t];
  }
  for (auto& [place, site] : weights_of) normalize_weights(site);
  return {length, 1, std::move(weights_of)};
}

std::uint64_t kept_token_weight_bytes(const SourceModel& model, std::uint64_t tokens, std::size_t groups) {
  const Network& network = model.parts().network();
  std::uint64_t runs = 0;
  for (std::int64_t layer = 0; layer < network.num_layers(); ++layer)
    for (const Site& site : network.layer(layer).sites)
      if (site.experts == 0) runs += groups * site.parts.size() + (groups == 1 ? 1 : 0);
  return runs * tokens * sizeof(float);
}

std::uint64_t token_weight_bytes(const SourceModel& model, const CalibrationTokens& tokens,
                                 const TokenWeightOptions& options, Machine& machine) {
  std::uint64_t numbers = 0;
  for (const ModelTensor& part : model.parts().all()) numbers += checked_elements(part.shape, part.hf_name);
  NetworkWeights none(std::vector<NetworkWeight>{});
  return kept_token_weight_bytes(model, tokens.ids.size(), options.groups) + numbers * sizeof(float) +
         Tape(model.parts().network(), none, {.arithmetic = options.arithmetic}, machine)
             .bytes({options.windows_at_a_time, static_cast<std::size_t>(tokens.length)});
}

}  // namespace nibble
