// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/value_ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nibble/error.h"
#include "quantize/fit/activation_fit.h"

namespace nibble {
namespace {

void record(std::span<const float> numbers, SiteStatistics& site) {
  for (const float x : numbers) {
    const std::size_t bin = histogram_bin(x);
    ++site.histogram[bin];
    if (x < 0) ++site.negatives[bin];
    site.lowest = std::min(site.lowest, x);
    site.highest = std::max(site.highest, x);
  }
  site.count += numbers.size();
  site.absmax[0] = std::max(-site.lowest, site.highest);
}

}  // namespace

ValueStatistics observe_values(const Net& net, const RoundingScheme& scheme, std::span<const NetSample> samples,
                               Machine& machine, const std::function<void(ValueId, const SampleValues&)>& also) {
  ValueStatistics seen;
  for (const ValueId value : scheme.all().values) {
    SiteStatistics& site = seen[scheme.grid_of(value)];
    site.mean_square = {0};
    site.absmax = {0};
    site.histogram.assign(kHistogramBins, 0);
    site.negatives.assign(kHistogramBins, 0);
  }
  constexpr std::size_t kTogether = 16;
  for (std::size_t first = 0; first < samples.size(); first += kTogether) {
    const auto see = [&](ValueId value, SampleValues& made) {
      if (also) also(value, made);
      const auto site = seen.find(scheme.grid_of(value));
      if (site == seen.end() || !scheme.all().values.contains(value)) return;
      for (std::size_t sample = 0; sample < made.size(); ++sample) {
        if (!std::ranges::all_of(made[sample], [](float x) { return std::isfinite(x); }))
          throw Error(ErrorKind::unusable_input,
                      fmt::format("{}: sample {} makes numbers that are not finite, in {}; leave it out", net.source,
                                  first + sample + 1,
                                  net.names[value].empty() ? fmt::format("value {}", value) : net.names[value]));
        record(made[sample], site->second);
      }
    };
    walk_samples(net, samples.subspan(first, std::min(kTogether, samples.size() - first)), machine, {.see = see});
  }
  return seen;
}

ValueGrids fit_grids(const ValueStatistics& seen, const RoundingScheme& scheme, const std::set<ValueId>& values,
                     bool has_zero_points, const FitOptions& fit) {
  std::map<ValueId, ActivationGrid> shared;
  ValueGrids grids;
  for (const ValueId value : values) {
    const ValueId key = scheme.grid_of(value);
    auto grid = shared.find(key);
    if (grid == shared.end()) {
      const ActivationFormat format{.grain = ActivationGrain::tensor, .is_asymmetric = has_zero_points};
      const auto fixed = scheme.fixed_grid(key);
      grid = shared.emplace(key, fixed ? *fixed : fit_activation_grid(seen.at(key), format, fit)).first;
    }
    grids.emplace(value, grid->second);
  }
  return grids;
}

}  // namespace nibble
