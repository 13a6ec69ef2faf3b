// SPDX-License-Identifier: Apache-2.0
//
// Weights rounded by what their layer's inputs are, which come from layers that are rounded already: one walk of
// samples through the net, in which each layer is rounded when its inputs are there.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "net/quantize/learned_layers.h"
#include "net/quantize/sample_walk.h"
#include "net/weight_codes.h"
#include "quantize/method.h"

namespace nibble {

// least: WeightRounding's, of a node's weights.
using LeastScales = std::function<std::vector<float>(const Node&)>;
struct OrderedRounding {
  const Method& method;  // one that does not look at inputs leaves codes as they are
  LeastScales least = {};
  // Codes are learned from there (adaptive_rounding.h), and taken layer by layer where they leave less error of what
  // the layer makes of these other samples; null: not.
  const AdaptiveRoundingOptions* learns = nullptr;
  std::span<const NetSample> judging = {};
  std::function<void()> layer_done = {};
};

// The convolutions and Linears that do not share their weights and have codes.
std::vector<const Node*> layers_to_round(const Net& net, const NetCodes& codes);

// Chooses the codes of these anew; their number of bits stays. weights: the numbers of all codes, which follow.
LearnedLayers round_in_order(const Net& net, std::span<const NetSample> samples, const ValueGrids& grids,
                             const OrderedRounding& how, NetCodes& codes, NumbersByPart& weights, Machine& machine);

}  // namespace nibble
