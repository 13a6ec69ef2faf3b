// SPDX-License-Identifier: Apache-2.0
#include "calibrate/site_observer.h"

#include <algorithm>

namespace nibble {

std::vector<ExpertRange> expert_groups(const Site& site, std::uint64_t bytes) {
  const auto size =
      static_cast<std::int64_t>(std::max<std::uint64_t>(1, kExpertMomentBytes / std::max<std::uint64_t>(1, bytes)));
  std::vector<ExpertRange> groups;
  for (std::int64_t begin = site.first_expert(); begin < site.end_expert(); begin += size)
    groups.push_back({begin, std::min(site.end_expert(), begin + size)});
  return groups;
}

std::vector<SiteStatistics> observe_site(LayerWalk& walk, const Site& site, const LayerWeights& layer,
                                         std::int64_t index, ExpertRange experts, AccumulateOptions accumulate,
                                         Machine& machine, const std::function<void(std::size_t window)>& after,
                                         const InputRotation* rotation) {
  if (accumulate.windows.total == 0) accumulate.windows = walk.windows();
  std::vector<SiteAccumulator> sums;
  sums.reserve(static_cast<std::size_t>(experts.end - experts.begin));
  for (std::int64_t e = experts.begin; e < experts.end; ++e)
    sums.emplace_back(SiteKey{index, site.name, e}, site.width, accumulate, machine);
  std::vector<float> rotated;
  for (std::size_t window = 0; window < walk.windows(); ++window) {
    walk.inputs(site, layer, window, experts, {});
    for (std::size_t i = 0; i < sums.size(); ++i) {
      std::span<const float> x = walk.inputs_of(site, experts.begin + static_cast<std::int64_t>(i));
      if (rotation != nullptr) x = rotation->apply_to(x, rotated, machine.pool);
      sums[i].add(x.data(), x.size() / site.width);
    }
    if (after) after(window);
  }
  std::vector<SiteStatistics> seen;
  for (SiteAccumulator& sum : sums) seen.push_back(sum.finish());
  return seen;
}

SiteStatistics observe_pooled(LayerWalk& walk, const Site& site, const LayerWeights& layer, std::int64_t index,
                              AccumulateOptions accumulate, Machine& machine,
                              const std::function<std::span<const float>(std::int64_t expert)>& columns) {
  if (accumulate.windows.total == 0) accumulate.windows = walk.windows();
  SiteAccumulator sums(SiteKey{index, site.name}, site.width, accumulate, machine);
  std::vector<float> unscaled;
  for (std::size_t window = 0; window < walk.windows(); ++window) {
    walk.inputs(site, layer, window);
    const std::span<const float> all = walk.inputs_of(site, -1);
    if (!site.has_own_inputs || !columns) {
      sums.add(all.data(), all.size() / site.width);
      continue;
    }
    unscaled.clear();
    for (std::int64_t e = 0; e < site.end_expert(); ++e) {
      const std::span<const float> x = walk.inputs_of(site, e), scales = columns(e);
      for (std::size_t i = 0; i < x.size(); ++i)
        unscaled.push_back(scales.empty() ? x[i] : x[i] * scales[i % site.width]);
    }
    sums.add(unscaled.data(), unscaled.size() / site.width);
  }
  return sums.finish();
}

std::vector<std::uint64_t> count_tokens(const LayerWalk& walk, const Site& site, const LayerWeights& layer,
                                        Transport* transport) {
  std::vector<std::uint64_t> tokens(site.experts);
  for (std::size_t window = 0; window < walk.windows(); ++window) {
    const std::span<const float> routing = walk.routing_of(site, layer, window);
    for (std::size_t i = 0; i < routing.size(); ++i) tokens[i % site.experts] += routing[i] != 0 ? 1 : 0;
  }
  add_counts(tokens, transport, "how many tokens experts are sent");
  return tokens;
}

}  // namespace nibble
