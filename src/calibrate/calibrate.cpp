// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibrate.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/progress_meter.h"
#include "calibrate/layer_walk.h"
#include "calibrate/site_observer.h"
#include "calibrate/window_share.h"
#include "kernels/linear/input_rotation.h"

namespace nibble {
namespace {

std::optional<InputRotation> rotation_of(const SiteKey& site, std::uint64_t width, const CollectOptions& options,
                                         Machine& machine) {
  const ChannelTransform* const transform = options.rotation ? options.rotation(site) : nullptr;
  return transform == nullptr ? std::nullopt
                              : std::optional<InputRotation>(std::in_place, *transform, width, machine.isa);
}

// A site for all windows: what its Linears see, and on to the next.
std::vector<SiteStatistics> pass_site(LayerWalk& walk, const Site& site, const LayerWeights& layer, std::int64_t index,
                                      const WindowShare& share, const CollectOptions& options, Machine& machine) {
  walk.pack(site, layer);
  if (!options.layers) {
    walk.leave(site, layer);
    return {};
  }
  const std::optional<InputRotation> rotation = rotation_of({index, site.name}, site.width, options, machine);
  const ExpertRange experts{site.first_expert(), site.end_expert()};
  const auto leave = [&](std::size_t window) { walk.leave(site, layer, window); };
  return observe_site(walk, site, layer, index, experts,
                      {.second_moment = options.second_moments, .rounded = walk.multiplies_codes(), .windows = share},
                      machine, leave, rotation ? &*rotation : nullptr);
}

}  // namespace

Statistics collect_statistics(const SourceModel& checkpoint, const CalibrationTokens& tokens,
                              const CollectOptions& options, Machine& machine) {
  const ModelConfig& config = checkpoint.config();
  const ModelTensors& tensors = checkpoint.parts();
  ProgressMeter meter(options.progress, "calibrate", config.layers + 1);
  const auto watch = meter.watch(machine.pool);
  meter.report(0, "layers");
  Statistics statistics;
  statistics.texts = tokens.names;
  statistics.samples = tokens.windows();
  statistics.length = tokens.length;

  const WindowShare share = share_windows(tokens.windows(), options.transport);
  const CalibrationTokens own = tokens_of(tokens, share);
  const WalkOptions how{
      .kernels = options.kernels, .arithmetic = options.arithmetic, .spill_directory = options.spill_directory};
  LayerWalk walk(tensors.network(), own, how, machine);
  walk.embed(stored_rows(checkpoint), LayerWeights(checkpoint, tensors, Network::kBegin, machine.pool));
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i) {
    const LayerWeights layer(checkpoint, tensors, i, machine.pool);
    for (const Site& site : layer.drawing().sites)
      for (SiteStatistics& seen : pass_site(walk, site, layer, i, share, options, machine))
        statistics.sites.push_back(std::move(seen));
    meter.report(static_cast<std::uint64_t>(i) + 1, "layers");
  }
  if (options.head) {
    const Matrix norm = decode_matrix(checkpoint, *tensors.part("final_norm", -1), machine.pool);
    const AccumulateOptions accumulate{
        .second_moment = options.second_moments, .rounded = walk.multiplies_codes(), .windows = share};
    SiteAccumulator sums({.site = std::string(kHeadSite)}, config.hidden, accumulate, machine);
    const std::optional<InputRotation> rotation =
        rotation_of({.site = std::string(kHeadSite)}, config.hidden, options, machine);
    std::vector<float> rotated;
    for (std::size_t window = 0; window < walk.windows(); ++window) {
      std::span<const float> x = walk.head_inputs(norm.values, window);
      if (rotation) x = rotation->apply_to(x, rotated, machine.pool);
      sums.add(x.data(), walk.length());
    }
    statistics.sites.push_back(sums.finish());
  }
  meter.report(config.layers + 1, "head");
  return statistics;
}

}  // namespace nibble
