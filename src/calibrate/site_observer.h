// SPDX-License-Identifier: Apache-2.0
//
// What a site sees of all windows that walk by, and of a site of experts what each of them does. One thread at a time;
// the pool does the work.
//
//   for (const ExpertRange experts : expert_groups(site, 2 * site.width * site.width * sizeof(float)))
//     for (SiteStatistics& seen : observe_site(walk, site, layer, 3, experts, {.second_moment = true}, machine)) ...
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "calibrate/layer_walk.h"
#include "calibrate/site_accumulator.h"
#include "kernels/linear/input_rotation.h"
#include "kernels/machine.h"
#include "quantize/statistics.h"

namespace nibble {

// What the moments of a site's experts may take at a time; one expert's may take more.
inline constexpr std::uint64_t kExpertMomentBytes = std::uint64_t{2} << 30;

// The site's experts in runs of which each takes kExpertMomentBytes at most, when one takes `bytes`. Of a site without
// experts its one range.
std::vector<ExpertRange> expert_groups(const Site& site, std::uint64_t bytes);

// Of each expert of the range, or of the site. The site's Linears before it are packed; the walk stays where it is, but
// for what `after` does with each window that has been seen. rotation: of what is seen; null: none. accumulate.rounded:
// the walk's. accumulate.windows: which of all windows the walk has, where these are of several ranks.
std::vector<SiteStatistics> observe_site(LayerWalk& walk, const Site& site, const LayerWeights& layer,
                                         std::int64_t index, ExpertRange experts, AccumulateOptions accumulate,
                                         Machine& machine, const std::function<void(std::size_t window)>& after = {},
                                         const InputRotation* rotation = nullptr);

// What all of a site's experts see together. Where they share inputs a token's is seen once, since each is sent to as
// many of them as any other.
// columns(expert): what divided the columns of inputs that are an expert's own; they are pooled as they were before.
SiteStatistics observe_pooled(LayerWalk& walk, const Site& site, const LayerWeights& layer, std::int64_t index,
                              AccumulateOptions accumulate, Machine& machine,
                              const std::function<std::span<const float>(std::int64_t expert)>& columns = {});

// How many tokens are sent to each expert; transport: of all ranks' windows.
std::vector<std::uint64_t> count_tokens(const LayerWalk& walk, const Site& site, const LayerWeights& layer,
                                        Transport* transport = nullptr);

}  // namespace nibble
