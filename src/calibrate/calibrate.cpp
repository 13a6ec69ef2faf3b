// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibrate.h"

#include <fmt/format.h>

#include "base/progress_meter.h"
#include "calibrate/layer_walk.h"
#include "calibrate/site_accumulator.h"
#include "nibble/error.h"

namespace nibble {
namespace {

void require_finite(std::span<const float> x, std::int64_t layer, std::string_view site) {
  if (const auto at = first_not_finite(x))
    throw Error(ErrorKind::corrupt,
                fmt::format("an activation is not finite, so the model's weights overflow: layer {}, {}, value {}", layer, site, *at));
}

SiteStatistics observe(LayerWalk& walk, Step step, const LayerWeights& layer, std::int64_t index, const AccumulateOptions& options, ThreadPool& pool,
                       Isa isa) {
  SiteAccumulator sums(walk.width_of(step), options, pool, isa);
  for (std::size_t window = 0; window < walk.windows(); ++window) {
    const auto x = walk.inputs(step, layer, window);
    require_finite(x, index, site_of(step));
    sums.add(x.data(), walk.length());
  }
  return sums.finish(index, site_of(step));
}

}  // namespace

Statistics collect_statistics(const Checkpoint& checkpoint, const CalibrationTokens& tokens, const CollectOptions& options, ThreadPool& pool) {
  const ModelConfig config = read_model_config(checkpoint);
  const ModelTensors tensors(config);
  const Spelling spelling = spelling_of(checkpoint);
  const AccumulateOptions accumulate{.second_moment = options.second_moments};
  ProgressMeter meter(options.progress, "calibrate", config.layers + 1);
  Statistics statistics;
  statistics.texts = tokens.names;
  statistics.samples = tokens.windows();
  statistics.length = tokens.length;

  LayerWalk walk(config, tokens, options.kernels, pool);
  const StoredTensor& embedding = checkpoint.tensor(tensors.part("embedding", -1)->name(spelling));
  walk.embed([&](std::int32_t id, float* out) { embedding.view.decode_row(static_cast<std::uint64_t>(id), {out, config.hidden}); });
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i) {
    const LayerWeights layer(checkpoint, tensors, i, pool);
    for (const Step step : kSteps) {
      walk.pack(step, layer);
      if (options.layers) statistics.sites.push_back(observe(walk, step, layer, i, accumulate, pool, options.kernels.isa));
      walk.leave(step, layer);
    }
    meter.report(static_cast<std::uint64_t>(i) + 1, "layers");
  }
  if (options.head) {
    const Matrix norm = decode_matrix(checkpoint.tensor(tensors.part("final_norm", -1)->name(spelling)), pool);
    SiteAccumulator sums(config.hidden, accumulate, pool, options.kernels.isa);
    for (std::size_t window = 0; window < walk.windows(); ++window) sums.add(walk.head_inputs(norm.values, window).data(), walk.length());
    statistics.sites.push_back(sums.finish(-1, kHeadSite));
  }
  meter.report(config.layers + 1, "head");
  return statistics;
}

}  // namespace nibble
