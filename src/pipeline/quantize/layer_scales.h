// SPDX-License-Identifier: Apache-2.0
//
// The transforms of a layer's methods: scales of its sites' columns, chosen and folded into what produces their
// activations. Internal to pipeline/.
//
//   LayerScales scales;
//   if (LayerScales::wanted(parts, layer)) scales.fold(parts, layer, statistics, weights, machine);
//   scales.columns(site, -1);   // what the columns of gate and up were multiplied by
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/layer_weights.h"
#include "graph/network.h"
#include "pipeline/quantize/planned_parts.h"
#include "quantize/statistics.h"

namespace nibble {

// The site by whose statistics a site is scaled: experts that share inputs see together what their router sees, where
// it reads the same.
std::string_view seen_by(const DrawnGraph& drawing, const Site& site);

class LayerScales {
 public:
  // True when a method of the layer has a transform.
  static bool wanted(const PlannedParts& parts, std::int64_t layer);

  // Chooses by what the layer's sites see, and folds into `weights`. Sites of which nothing is known, or which the
  // drawing lets no scale pass from, stay as they are.
  void fold(const PlannedParts& parts, std::int64_t layer, const Statistics& statistics, LayerWeights& weights,
            Machine& machine);

  // What the columns of a site, or of one of its experts, were multiplied by; empty: nothing.
  std::span<const float> columns(const Site& site, std::int64_t expert) const;
  // What the outputs of a part were multiplied by in turn; empty: nothing.
  std::span<const float> rows(std::string_view part) const;

 private:
  // A site that has one scale for each column.
  void fold_shared(const PlannedParts& parts, std::int64_t layer, const Statistics& statistics, const Site& site,
                   const FoldSite& fold, LayerWeights& weights, Machine& machine);
  // A site whose experts have scales of their own; by what those that saw too few see with the others.
  void fold_experts(const PlannedParts& parts, std::int64_t layer, const Statistics& statistics, const Site& site,
                    const FoldSite& fold, LayerWeights& weights, Machine& machine);
  void fold_one(const PlannedParts& parts, std::int64_t layer, const SiteStatistics* seen,
                std::span<const std::string> scaled, const FoldSite& fold, std::string name, LayerWeights& weights,
                Machine& machine);

  std::map<std::string, std::vector<float>, std::less<>> columns_;
  std::map<std::string, std::vector<float>, std::less<>> rows_;
};

}  // namespace nibble
