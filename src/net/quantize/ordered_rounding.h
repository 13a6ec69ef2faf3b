// SPDX-License-Identifier: Apache-2.0
//
// Weights rounded by what their layer's inputs are, which come from layers that are rounded already: one walk of
// samples through the net, in which each layer is rounded when its inputs are there.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "net/quantize/sample_walk.h"
#include "net/weight_codes.h"
#include "quantize/method.h"

namespace nibble {

// Chooses the codes anew of those convolutions and Linears that do not share their weights, by a method that looks at
// inputs; the codes' number of bits stays. least: WeightRounding's, of a node's weights. weights: the numbers of all
// codes, which follow.
using LeastScales = std::function<std::vector<float>(const Node&)>;
void round_in_order(const Net& net, std::span<const NetSample> samples, const ValueGrids& grids, const Method& method,
                    const LeastScales& least, NetCodes& codes, NumbersByPart& weights, Machine& machine);

}  // namespace nibble
