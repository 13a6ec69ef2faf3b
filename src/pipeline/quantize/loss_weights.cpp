// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/loss_weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/memory.h"
#include "pipeline/quantize/hessian_memory.h"

namespace nibble {

std::string loss_weight_warning(const Hessian& hessian, const CalibrationTokens& tokens) {
  constexpr std::uint64_t kEnough = std::uint64_t{1} << 16;  // tokens
  const std::uint64_t count = tokens.ids.size(), length = tokens.length;
  if (!hessian.is_guided() || count >= kEnough) return {};
  return fmt::format(
      "{} moments of {} window{} of {} tokens: a few tokens decide in them, and of so little text plain ones "
      "may lose less; take {} windows",
      hessian_name(hessian), tokens.windows(), tokens.windows() == 1 ? "" : "s", length,
      (kEnough + length - 1) / length);
}

LossWeights::LossWeights(const SourceModel& source, const CalibrationTokens& tokens, const LossWeightOptions& options,
                         Machine& machine)
    : source_(source), tokens_(tokens), options_(options), machine_(machine) {
  if (!options.hessian.is_guided()) return;
  const ProductArithmetic arithmetic = fastest_products(machine.isa);
  require_hessian_memory(options.hessian, {source, tokens, options.follow_original, arithmetic, options.rotates},
                         available_memory(), machine);
  if (options.hessian.is_kl) return;  // as layers come
  weights_ = find_token_weights(
      source, tokens, {.groups = options.hessian.groups, .arithmetic = arithmetic, .progress = options.progress},
      machine);
}

std::uint64_t LossWeights::bytes_to_come() const {
  std::uint64_t most = 0;
  for (std::int64_t layer = 0; layer < source_.parts().network().num_layers() && options_.hessian.is_kl; ++layer)
    most = std::max(most, kept_curvature_bytes(source_, tokens_.ids.size(), layer, layer + 1));
  return most;
}

// Every run of layers takes passes over the text: as many of them as there is room for while gradients are found, and
// while each of them is rounded and learns beside what is kept of all.
void LossWeights::prepare(std::int64_t layer, bool is_needed) {
  if (!options_.hessian.is_kl || layer < curvature_end_ || !is_needed) return;
  curvature_ = {};
  CurvatureOptions options{.first_layer = layer,
                           .end_layer = layer + 1,
                           .arithmetic = fastest_products(machine_.isa),
                           .progress = options_.progress};
  const std::uint64_t there = available_memory();
  const std::uint64_t beside =
      std::max(options_.beside, rounding_bytes(options_.hessian, {source_, tokens_, options_.follow_original,
                                                                  options.arithmetic, options_.rotates}));
  const auto fits = [&](const CurvatureOptions& some) {
    const std::uint64_t kept = kept_curvature_bytes(source_, tokens_.ids.size(), some.first_layer, some.end_layer);
    return curvature_bytes(source_, tokens_, some, machine_) <= there / 2 && kept <= there && beside <= there - kept;
  };
  for (CurvatureOptions more = options; more.end_layer < source_.parts().network().num_layers();) {
    ++more.end_layer;
    if (!fits(more)) break;
    options.end_layer = more.end_layer;
  }
  curvature_ = find_loss_curvature(source_, tokens_, options, machine_);
  curvature_end_ = options.end_layer;
}

std::vector<TokenShares> LossWeights::shares_of(const Site& site, std::int64_t layer, const std::string& part) const {
  if (site.experts != 0) return {};
  if (const LinearCurvature* const curvature = curvature_.find(layer, part))
    return {[curvature, length = static_cast<std::size_t>(tokens_.length)](std::size_t window) {
      return std::span(curvature->token_weights).subspan(window * length, length);
    }};
  const std::string& place = is_by_part() ? part : site.name;
  if (weights_.empty() || weights_.of(layer, place, 0).empty()) return {};
  std::vector<TokenShares> shares;
  for (std::size_t group = 0; group < weights_.groups(); ++group)
    shares.emplace_back(
        [this, layer, place, group](std::size_t window) { return weights_.of(layer, place, window, group); });
  return shares;
}

std::vector<float> LossWeights::outputs_of(std::int64_t layer, std::string_view part,
                                           const std::vector<std::uint32_t>& order) const {
  const LinearCurvature* const curvature = curvature_.find(layer, part);
  if (curvature == nullptr || order.empty())
    return curvature == nullptr ? std::vector<float>() : curvature->output_moment;
  const std::size_t n = order.size();
  std::vector<float> moved(n * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) moved[i * n + j] = curvature->output_moment[order[i] * n + order[j]];
  return moved;
}

}  // namespace nibble
