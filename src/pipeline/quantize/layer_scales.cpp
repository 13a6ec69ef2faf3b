// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/layer_scales.h"

#include <algorithm>
#include <optional>

#include "calibrate/fold.h"
#include "kernels/encode/encoders.h"
#include "pipeline/quantize/statistics_gaps.h"
#include "quantize/pooled_moment.h"

namespace nibble {
namespace {

// The Linears that are to be scaled, and by which rule; null: none.
const Transform* gather_linears(const PlannedParts& parts, std::int64_t layer, std::span<const std::string> scaled,
                                const LayerWeights& weights, Isa isa, std::vector<Method>& methods,
                                ScaleRequest& request) {
  const Transform* rule = nullptr;
  for (const std::string& part : scaled) methods.push_back(parts.method(part, layer));
  for (std::size_t i = 0; i < methods.size(); ++i) {
    const std::string& part = scaled[i];
    const FormatPtr& format = parts.planned(part, layer).target.format;
    if (format->info().kind == FormatKind::raw || !methods[i].transform.scales()) continue;
    rule = &methods[i].transform;
    const Matrix& matrix = weights.at(part);
    request.linears.push_back({matrix.values, matrix.rows, with_kernels(format, isa), methods[i].fit});
  }
  return rule;
}

}  // namespace

std::string_view seen_by(const DrawnGraph& drawing, const Site& site) {
  for (const Site& other : drawing.sites)
    if (site.experts != 0 && other.experts == 0 && other.input == site.input) return other.name;
  return site.name;
}

namespace {

std::string name_of(const Site& site, std::int64_t expert) {
  return site.has_own_inputs ? expert_part(site.name, static_cast<std::uint64_t>(expert)) : site.name;
}

}  // namespace

bool LayerScales::wanted(const PlannedParts& parts, std::int64_t layer) {
  return std::ranges::any_of(parts.drawing(layer).sites, [&](const Site& site) {
    return std::ranges::any_of(site.parts,
                               [&](const std::string& part) { return parts.method(part, layer).transform.scales(); });
  });
}

void LayerScales::fold(const PlannedParts& parts, std::int64_t layer, const Statistics& statistics,
                       LayerWeights& weights, Machine& machine) {
  const DrawnGraph& drawing = parts.drawing(layer);
  for (std::size_t s = 0; s < drawing.sites.size(); ++s) {
    const Site& site = drawing.sites[s];
    const std::optional<FoldSite>& fold = drawing.folds[s];
    if (!fold) continue;
    if (fold->is_by_expert)
      fold_experts(parts, layer, statistics, site, *fold, weights, machine);
    else
      fold_shared(parts, layer, statistics, site, *fold, weights, machine);
  }
}

void LayerScales::fold_shared(const PlannedParts& parts, std::int64_t layer, const Statistics& statistics,
                              const Site& site, const FoldSite& fold, LayerWeights& weights, Machine& machine) {
  const std::string_view witness = seen_by(parts.drawing(layer), site);
  const SiteStatistics* seen = statistics.find({layer, std::string(witness)});
  std::optional<SiteStatistics> pooled;
  if (seen == nullptr && site.experts != 0 && witness == site.name)
    if ((pooled = pool_site(statistics, layer, site.name))) seen = &*pooled;
  fold_one(parts, layer, seen, site.parts, fold, site.name, weights, machine);
}

void LayerScales::fold_experts(const PlannedParts& parts, std::int64_t layer, const Statistics& statistics,
                               const Site& site, const FoldSite& fold, LayerWeights& weights, Machine& machine) {
  const std::optional<SiteStatistics> pooled = pool_where_few(statistics, layer, site.name);
  for (std::int64_t e = 0; e < site.end_expert(); ++e) {
    const SiteStatistics* seen = statistics.find({layer, site.name, e});
    std::optional<SiteStatistics> shrunk;
    if (pooled && seen != nullptr && saw_few(*seen))
      seen = &shrunk.emplace(shrink(*seen, *pooled, pooled_share(*seen, *pooled)));
    fold_one(parts, layer, seen, site.parts_of(e), fold_of_expert(fold, site, e), name_of(site, e), weights, machine);
  }
}

// scaled: the parts that are to be rounded, of those that read the inputs.
void LayerScales::fold_one(const PlannedParts& parts, std::int64_t layer, const SiteStatistics* seen,
                           std::span<const std::string> scaled, const FoldSite& fold, std::string name,
                           LayerWeights& weights, Machine& machine) {
  if (seen == nullptr || is_silent(*seen)) return;
  ScaleRequest request{seen, {}, fold.channel_of};
  std::vector<Method> methods;
  const Transform* const rule = gather_linears(parts, layer, scaled, weights, machine.isa, methods, request);
  // Smoothing moves what norms put out only: the ranges of other activations are the weights' own doing.
  const bool norm_only = rule != nullptr && rule->rule == Transform::Rule::smoothquant;
  if (rule == nullptr || (norm_only && !fold.is_norm)) return;
  std::vector<float> scales = choose_scales(*rule, request, machine);
  fold_scales(fold, scales, weights);
  std::vector<float>& rows = rows_[fold.producer];
  for (std::size_t i = 0; i < scales.size(); ++i) {
    rows.resize(std::max<std::size_t>(rows.size(), request.group_of[i] + 1u), 1.0F);
    rows[request.group_of[i]] = 1 / scales[i];
  }
  columns_[std::move(name)] = std::move(scales);
}

std::span<const float> LayerScales::columns(const Site& site, std::int64_t expert) const {
  const auto found = columns_.find(name_of(site, expert));
  return found == columns_.end() ? std::span<const float>{} : found->second;
}

std::span<const float> LayerScales::rows(std::string_view part) const {
  const auto found = rows_.find(part);
  return found == rows_.end() ? std::span<const float>{} : found->second;
}

}  // namespace nibble
