// SPDX-License-Identifier: Apache-2.0
#include "train/token_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/progress_meter.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// Of one Linear: the squares of its outputs' gradients, summed over its outputs, of all tokens.
struct Squares {
  std::int64_t layer = 0;
  std::string site;
  std::vector<float> by_token;
};

void add_squares(std::span<const float> gradient, std::span<float> by_token, ThreadPool& pool) {
  const std::size_t width = gradient.size() / by_token.size();
  pool.parallel_for(by_token.size(), 32, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      double sum = 0;
      for (std::size_t i = t * width; i < (t + 1) * width; ++i)
        sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
      by_token[t] = static_cast<float>(sum);
    }
  });
}

// The loss of a window's own tokens; behind the last nothing is known.
std::vector<std::int32_t> targets_of(std::span<const std::int32_t> ids, std::size_t length) {
  std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(kNoTarget);
  for (std::size_t i = length - 1; i < targets.size(); i += length) targets[i] = kNoTarget;
  return targets;
}

}  // namespace

std::span<const float> TokenWeights::of(std::int64_t layer, std::string_view site, std::size_t window) const {
  const auto found = by_site_.find({layer, std::string(site)});
  if (found == by_site_.end()) return {};
  return std::span(found->second).subspan(window * length_, length_);
}

TokenWeights find_token_weights(const SourceModel& model, const CalibrationTokens& tokens,
                                const TokenWeightOptions& options, Machine& machine) {
  NetworkWeights weights(model, machine.pool);
  std::map<std::pair<std::int64_t, std::string>, Squares> found;  // by layer and part
  std::size_t first = 0, count = 0;                               // tokens of the windows at hand
  const auto watch = [&](std::int64_t layer, const Linear& op, std::span<const float> gradient) {
    if (op.role != TensorRole::linear) return;
    Squares& squares = found[{layer, op.part}];
    squares.layer = layer;
    squares.site = op.site;
    squares.by_token.resize(tokens.ids.size());
    add_squares(gradient, std::span(squares.by_token).subspan(first, count), machine.pool);
  };
  Tape tape(model.parts().network(), weights, {.arithmetic = options.arithmetic, .watch = watch}, machine);
  ProgressMeter meter(options.progress, "gradients", tokens.windows());
  const std::size_t length = static_cast<std::size_t>(tokens.length);
  for (std::size_t window = 0; window < tokens.windows(); window += options.windows_at_a_time) {
    const std::size_t windows = std::min(options.windows_at_a_time, tokens.windows() - window);
    first = window * length, count = windows * length;
    const std::span<const std::int32_t> ids = std::span(tokens.ids).subspan(first, count);
    const std::vector<std::int32_t> targets = targets_of(ids, length);
    const double loss = tape.run(ids, {windows, length}, next_token_loss(targets, machine), Tape::Walk::there_and_back);
    if (!std::isfinite(loss))
      throw Error(ErrorKind::corrupt,
                  fmt::format("the loss of window {} of the calibration text is not finite; repair the model: {}",
                              window, loss));
    // Losses are means of the windows at hand: the last ones may be fewer.
    for (auto& [part, squares] : found)
      for (std::size_t t = first; t < first + count; ++t)
        squares.by_token[t] *= static_cast<float>(windows) * static_cast<float>(windows);
    meter.report(window + windows);
  }
  std::map<std::pair<std::int64_t, std::string>, std::vector<float>> by_site;
  std::map<std::pair<std::int64_t, std::string>, double> linears;
  for (const auto& [part, squares] : found) {
    double sum = 0;
    for (const float square : squares.by_token) sum += static_cast<double>(square);
    std::vector<float>& site = by_site[{squares.layer, squares.site}];
    site.resize(squares.by_token.size());
    ++linears[{squares.layer, squares.site}];
    const double factor = sum > 0 ? static_cast<double>(site.size()) / sum : 0;
    for (std::size_t t = 0; t < site.size(); ++t)
      site[t] += static_cast<float>(factor * static_cast<double>(squares.by_token[t]));
  }
  for (auto& [key, site] : by_site)
    for (float& weight : site) weight /= static_cast<float>(linears[key]);
  return {length, std::move(by_site)};
}

}  // namespace nibble
