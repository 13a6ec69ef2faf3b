// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/site_view.h"

#include "base/huge_pages.h"
#include "calibrate/site_accumulator.h"
#include "kernels/dense/dense.h"
#include "quantize/round/target.h"
#include "quantize/transform/transform.h"

namespace nibble {
namespace {

// The bias of a site whose one Linear is added to the residual stream; empty: none.
std::span<const float> bias_of(const Site& site, const LayerWeights& layer) {
  const std::string name = site.parts.front() + ".bias";
  return layer.has(name) ? std::span<const float>(layer.at(name).values) : std::span<const float>{};
}

// What a Linear should add to a stream so that it becomes the original's. All but the bias [n]: [tokens, n].
void wanted_outputs(std::span<const float> original, std::span<const float> now, std::span<const float> bias,
                    std::vector<float>& wanted, ThreadPool& pool) {
  wanted.resize(now.size());
  pool.parallel_for(now.size(), std::size_t{1} << 15, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) wanted[i] = original[i] - now[i];
    for (std::size_t i = begin; i < end && !bias.empty(); ++i) wanted[i] -= bias[i % bias.size()];
  });
}

}  // namespace

SiteView view_of_statistics(const SiteStatistics* site, std::span<const float> scales) {
  SiteView view{.given = site, .column_scales = scales};
  if (site != nullptr && !scales.empty()) view.own = rescaled(*site, scales);
  return view;
}

SiteView view_of_text(const Site& site, std::int64_t layer, const PlannedParts& parts, const LayerPair& weights,
                      LayerWalk& stored, LayerWalk* original, Machine& machine) {
  SiteView view;
  const bool full = parts.site_asks_for(site, layer, Needs::second_moment);
  const bool follow = full && original != nullptr;
  const bool adds = follow && original->shows_sum(site, weights.original);
  SiteAccumulator sums(
      layer, site.name, site.width,
      {.second_moment = full, .distribution = false, .rounded = stored.multiplies_codes(), .windows = stored.windows()},
      machine);
  std::optional<CrossAccumulator> cross;
  if (follow)
    cross.emplace(adds ? weights.current.at(site.parts.front()).rows : site.width, site.width,
                  stored.multiplies_codes(), stored.windows(), machine);
  std::vector<float> wanted;
  for (std::size_t window = 0; window < stored.windows(); ++window) {
    const auto x = stored.inputs(site, weights.current, window);
    sums.add(x.data(), stored.length());
    if (!follow) continue;
    if (adds) {
      original->leave(site, weights.original, window);
      wanted_outputs(original->kept_value(site.added->sum, weights.original, window),
                     stored.kept_value(site.added->term, weights.current, window), bias_of(site, weights.original),
                     wanted, machine.pool);
    }
    cross->add(adds ? wanted.data() : original->inputs(site, weights.original, window).data(), x.data(),
               stored.length(), sums.last_rounded());
  }
  view.is_original_left = adds;
  view.own = sums.finish();
  if (follow) view.cross = cross->finish();
  return view;
}

std::vector<float> target_of(std::string_view part, std::int64_t layer, const PlannedParts& parts,
                             const LayerPair& weights, std::span<const float> outputs_scale, SiteView& view,
                             Machine& machine) {
  const Matrix& current = weights.current.at(part);
  const std::shared_ptr<const RoundPlan> plan =
      view.plans.of(parts.method(part, layer), parts.planned(part, layer).target.format, view.inputs(), machine);
  const FeedbackFactor* factor = plan ? plan->factor() : nullptr;
  if (factor == nullptr) {
    if (!view.factor)
      view.factor.emplace(view.inputs()->second_moment, view.inputs()->width(), FactorOptions{.act_order = false},
                          machine);
    factor = &*view.factor;
  }
  if (view.is_original_left) return solve_target(*factor, current.values, view.cross, current.rows, machine);
  std::vector<float> outputs = large_vector(current.values.size());
  gemm(weights.original.at(part).values.data(), view.cross.data(), current.rows, current.cols, current.cols,
       outputs.data(), machine);
  for (std::size_t i = 0; i < outputs.size() && !outputs_scale.empty(); ++i)
    outputs[i] *= outputs_scale[i / current.cols];
  return solve_target(*factor, current.values, outputs, current.rows, machine);
}

}  // namespace nibble
