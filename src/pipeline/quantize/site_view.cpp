// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/site_view.h"

#include <algorithm>
#include <cmath>

#include "base/huge_pages.h"
#include "calibrate/site_accumulator.h"
#include "kernels/dense/dense.h"
#include "pipeline/quantize/expert_post.h"
#include "quantize/pooled_moment.h"
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

// Rows that weigh as much as their tokens: times the roots of the shares.
void weigh(std::span<const float> rows, std::span<const float> shares, std::vector<float>& weighed, ThreadPool& pool) {
  const std::size_t width = rows.size() / shares.size();
  weighed.resize(rows.size());
  pool.parallel_for(shares.size(), 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      const float root = std::sqrt(shares[t]);
      for (std::size_t i = t * width; i < (t + 1) * width; ++i) weighed[i] = root * rows[i];
    }
  });
}

}  // namespace

SiteView view_of_statistics(const SiteStatistics* site, std::span<const float> scales, const SiteStatistics* pooled) {
  SiteView view{.given = site, .column_scales = scales};
  if (site == nullptr) return view;
  if (pooled != nullptr && saw_few(*site)) view.own = shrink(*site, *pooled, pooled_share(*site, *pooled));
  if (!scales.empty()) view.own = rescaled(*view.inputs(), scales);
  return view;
}

std::vector<SiteView> views_of_text(const Site& site, std::int64_t layer, ExpertRange experts,
                                    const PlannedParts& parts, const LayerPair& weights, LayerWalk& stored,
                                    LayerWalk* original, const WindowShare& windows,
                                    std::span<const TokenShares> shares, Machine& machine) {
  const bool moves_tokens = is_shared(windows.transport) && site.experts != 0 && experts.begin >= 0;
  const WindowShare summed = moves_tokens ? WindowShare(windows.total) : windows;
  const bool full = parts.site_asks_for(site, layer, Needs::second_moment);
  const bool follow = full && original != nullptr;
  const bool adds = follow && original->shows_sum(site, weights.original);
  const bool is_rounded = stored.multiplies_codes();
  const std::size_t count = std::max<std::size_t>(shares.size(), static_cast<std::size_t>(experts.end - experts.begin));
  const auto expert_of = [&](std::size_t i) {
    return shares.empty() ? experts.begin + static_cast<std::int64_t>(i) : -1;
  };
  std::vector<SiteAccumulator> sums;
  std::vector<CrossAccumulator> crosses;
  sums.reserve(count);
  crosses.reserve(count);
  std::optional<ExpertPost> post;
  if (moves_tokens) post.emplace(*windows.transport, experts, site.width, follow);
  for (std::size_t i = 0; i < count; ++i) {
    const bool is_here = !post || post->is_mine(i);
    sums.emplace_back(
        SiteKey{layer, site.name, expert_of(i)}, site.width,
        AccumulateOptions{
            .second_moment = full && is_here, .distribution = false, .rounded = is_rounded, .windows = summed},
        machine);
    if (!follow) continue;
    const std::size_t height = adds ? weights.current.at(site.parts.front()).rows : site.width;
    crosses.emplace_back(is_here ? height : 0, is_here ? site.width : 0, is_rounded, summed, machine);
  }
  std::vector<float> wanted, weighed_x, weighed_y;
  for (std::size_t window = 0; window < stored.windows(); ++window) {
    stored.inputs(site, weights.current, window, experts, {});
    if (adds) {
      original->leave(site, weights.original, window);
      wanted_outputs(original->kept_value(site.added->sum, weights.original, window),
                     stored.kept_value(site.added->term, weights.current, window), bias_of(site, weights.original),
                     wanted, machine.pool);
    } else if (follow) {
      original->inputs(site, weights.original, window, experts,
                       site.experts == 0 ? std::span<const float>{} : stored.routing_of(site, weights.current, window));
    }
    for (std::size_t i = 0; i < count; ++i) {
      std::span<const float> x = stored.inputs_of(site, expert_of(i)), y;
      if (follow) y = adds ? std::span<const float>(wanted) : original->inputs_of(site, expert_of(i));
      const std::size_t tokens = x.size() / site.width;
      if (post) {
        post->add(i, x, y);
        continue;
      }
      if (const auto share = shares.empty() ? std::span<const float>{} : shares[i](window); !share.empty()) {
        weigh(x, share, weighed_x, machine.pool);
        x = weighed_x;
        if (follow) weigh(y, share, weighed_y, machine.pool);
        if (follow) y = weighed_y;
      }
      sums[i].add(x.data(), tokens);
      if (follow) crosses[i].add(y.data(), x.data(), tokens, sums[i].last_rounded());
    }
  }
  std::vector<SiteView> views(count);
  if (post) {
    post->deliver(site.name, [&](std::size_t i, std::span<const float> x, std::span<const float> y) {
      sums[i].add(x.data(), x.size() / site.width);
      if (follow) crosses[i].add(y.data(), x.data(), x.size() / site.width, sums[i].last_rounded());
    });
    for (std::size_t i = 0; i < views.size(); ++i) {
      views[i].own = sums[i].finish();
      if (follow && post->is_mine(i)) views[i].cross = crosses[i].finish();
    }
    return views;
  }
  for (std::size_t i = 0; i < views.size(); ++i) {
    views[i].is_original_left = adds;
    views[i].own = sums[i].finish();
    if (follow) views[i].cross = crosses[i].finish();
  }
  return views;
}

void SiteView::shrink_towards(const SiteStatistics& pooled) {
  const double share = pooled_share(*own, pooled);
  // The original's inputs are not scaled: they are the columns' scales times these.
  for (std::size_t i = 0; i < cross.size(); ++i) {
    const double scale = column_scales.empty() ? 1 : static_cast<double>(column_scales[i / own->width()]);
    cross[i] = static_cast<float>((1 - share) * static_cast<double>(cross[i]) +
                                  share * scale * static_cast<double>(pooled.second_moment[i]));
  }
  own = shrink(std::move(*own), pooled, share);
}

std::vector<float> target_of(std::string_view part, std::int64_t layer, RowRange rows, const PlannedParts& parts,
                             const LayerPair& weights, std::span<const float> outputs_scale, SiteView& view,
                             RoundPlans& plans, Machine& machine) {
  const Matrix& current = weights.current.at(part);
  const std::uint64_t cols = current.cols, first = rows.begin * cols, numbers = rows.count() * cols;
  // Where inputs are rotated, the rounder's factor is that of another moment.
  const PlannedTensor& target = parts.planned(part, layer).target;
  const std::shared_ptr<const RoundPlan> plan =
      target.parts ? nullptr : plans.of(parts.method(part, layer), target.format, view.inputs(), machine);
  const FeedbackFactor* factor = plan ? plan->factor() : nullptr;
  if (factor == nullptr) {
    if (!view.factor)
      view.factor.emplace(view.inputs()->second_moment, view.inputs()->width(), FactorOptions{.act_order = false},
                          machine);
    factor = &*view.factor;
  }
  const std::span<const float> now = std::span(current.values).subspan(first, numbers);
  if (view.is_original_left)
    return solve_target(*factor, now, std::span(view.cross).subspan(first, numbers), rows.count(), machine);
  std::vector<float> outputs = large_vector(numbers);
  gemm(weights.original.at(part).values.data() + first, view.cross.data(), rows.count(), cols, cols, outputs.data(),
       machine);
  for (std::size_t i = 0; i < outputs.size() && !outputs_scale.empty(); ++i)
    outputs[i] *= outputs_scale[rows.begin + i / cols];
  return solve_target(*factor, now, outputs, rows.count(), machine);
}

}  // namespace nibble
