// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibrate.h"

#include <utility>

#include "base/progress_meter.h"
#include "calibrate/layer_walk.h"
#include "calibrate/site_observer.h"

namespace nibble {
namespace {

// A site for all windows: what its Linears see, and on to the next.
std::vector<SiteStatistics> pass_site(LayerWalk& walk, const Site& site, const LayerWeights& layer, std::int64_t index,
                                      const CollectOptions& options, Machine& machine) {
  walk.pack(site, layer);
  if (!options.layers) {
    walk.leave(site, layer);
    return {};
  }
  const ExpertRange experts{site.first_expert(), site.end_expert()};
  const auto leave = [&](std::size_t window) { walk.leave(site, layer, window); };
  return observe_site(walk, site, layer, index, experts,
                      {.second_moment = options.second_moments, .rounded = walk.multiplies_codes()}, machine, leave);
}

}  // namespace

Statistics collect_statistics(const SourceModel& checkpoint, const CalibrationTokens& tokens,
                              const CollectOptions& options, Machine& machine) {
  const ModelConfig& config = checkpoint.config();
  const ModelTensors& tensors = checkpoint.parts();
  ProgressMeter meter(options.progress, "calibrate", config.layers + 1);
  Statistics statistics;
  statistics.texts = tokens.names;
  statistics.samples = tokens.windows();
  statistics.length = tokens.length;

  const WalkOptions how{
      .kernels = options.kernels, .arithmetic = options.arithmetic, .spill_directory = options.spill_directory};
  LayerWalk walk(tensors.network(), tokens, how, machine);
  walk.embed(stored_rows(checkpoint), LayerWeights(checkpoint, tensors, Network::kBegin, machine.pool));
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i) {
    const LayerWeights layer(checkpoint, tensors, i, machine.pool);
    for (const Site& site : layer.drawing().sites)
      for (SiteStatistics& seen : pass_site(walk, site, layer, i, options, machine))
        statistics.sites.push_back(std::move(seen));
    meter.report(static_cast<std::uint64_t>(i) + 1, "layers");
  }
  if (options.head) {
    const Matrix norm = decode_matrix(checkpoint, *tensors.part("final_norm", -1), machine.pool);
    const AccumulateOptions accumulate{
        .second_moment = options.second_moments, .rounded = walk.multiplies_codes(), .windows = walk.windows()};
    SiteAccumulator sums({.site = std::string(kHeadSite)}, config.hidden, accumulate, machine);
    for (std::size_t window = 0; window < walk.windows(); ++window)
      sums.add(walk.head_inputs(norm.values, window).data(), walk.length());
    statistics.sites.push_back(sums.finish());
  }
  meter.report(config.layers + 1, "head");
  return statistics;
}

}  // namespace nibble
