// SPDX-License-Identifier: Apache-2.0
//
// What calibration tells of one site, or of one of its experts, while its Linears are rounded: of statistics that were
// read, or of the text that walks through the layers quantized so far, beside the original's. Internal to pipeline/;
// one thread at a time, the pool does the work.
//
//   std::vector<SiteView> views = views_of_text(site, layer, {}, parts, {original, current}, stored, &walk, {},
//   machine); const std::vector<float> q = target_of("q", layer, {0, rows}, parts, {original, current},
//   scales.rows("q"),
//                                          views[0], views[0].plans, machine);
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "calibrate/layer_walk.h"
#include "calibrate/window_share.h"
#include "kernels/machine.h"
#include "pipeline/quantize/layer_scales.h"
#include "pipeline/quantize/planned_parts.h"
#include "quantize/quantize_linear.h"
#include "quantize/round/feedback_factor.h"
#include "quantize/statistics.h"

namespace nibble {

struct SiteView {
  const SiteStatistics* given = nullptr;  // of statistics that were read
  std::optional<SiteStatistics> own{};    // in place of them: of the walk, or rescaled
  // What the original's layer has with the inputs x' of the quantized layers; empty without a walk. Its inputs, E[x
  // x'^T]; or where outputs are added to the residual stream, what they should be, E[y x'^T]: the original's stream
  // behind them less the stream that they are added to.
  std::vector<float> cross{};
  bool is_original_left = false;  // the original's text has gone on
  RoundPlans plans{};
  std::optional<FeedbackFactor> factor{};  // of the moment, for targets where the rounder has made none
  std::span<const float> column_scales{};  // of the transform; empty: none

  // Of an expert that saw too few tokens: towards what all experts see (quantize/pooled_moment.h). Where that takes the
  // place of what the expert saw, the original has the same inputs. pooled: with columns scaled as this expert's are.
  void shrink_towards(const SiteStatistics& pooled);

  const SiteStatistics* inputs() const { return own ? &*own : given; }  // null: nothing is known
};

// A layer as the original has it, and as its Linears are to be rounded.
struct LayerPair {
  const LayerWeights& original;
  const LayerWeights& current;
};

// A site of statistics that were read, whose columns a transform has multiplied by `scales` (empty: nothing). pooled:
// of a site's experts; null: none of them saw too little.
SiteView view_of_statistics(const SiteStatistics* site, std::span<const float> scales,
                            const SiteStatistics* pooled = nullptr);

// What each token of a window weighs in moments, [length]; empty: 1.
using TokenShares = std::function<std::span<const float>(std::size_t window)>;

// A site as the text meets it now, or of a site of experts some of them, a view each; of a site without experts one for
// each of `shares`, and one where there are none, for all tokens alike. stored: the text behind the
// layers quantized so far; original: behind the original's, null where nobody follows it. Both are at the site; where
// the site's outputs are added to the residual stream, the original is left. Experts of the original are sent the
// tokens that those of the quantized layers are.
// windows: those that walk here, of how many. Of several ranks each has the views of all but a site of experts; of
// those each has the experts that it makes (maker_of).
std::vector<SiteView> views_of_text(const Site& site, std::int64_t layer, ExpertRange experts,
                                    const PlannedParts& parts, const LayerPair& weights, LayerWalk& stored,
                                    LayerWalk* original, const WindowShare& windows,
                                    std::span<const TokenShares> shares, Machine& machine);

// Which of several ranks rounds an expert, and is sent what the others' windows have for it.
inline std::size_t maker_of(std::int64_t expert, const Transport& ranks) {
  return static_cast<std::size_t>(expert) % ranks.size();
}

// The weights of some rows that give a Linear's outputs best for the inputs that it gets now, [rows, cols].
// outputs_scale: what a transform multiplied the Linear's own outputs by; empty: nothing. Needs view.cross. plans: of
// the rounding that follows.
std::vector<float> target_of(std::string_view part, std::int64_t layer, RowRange rows, const PlannedParts& parts,
                             const LayerPair& weights, std::span<const float> outputs_scale, SiteView& view,
                             RoundPlans& plans, Machine& machine);

}  // namespace nibble
