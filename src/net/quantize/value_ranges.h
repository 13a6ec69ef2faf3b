// SPDX-License-Identifier: Apache-2.0
//
// What calibration sees of a net's values, and the grids that follow from it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>

#include "format/format.h"
#include "net/quantize/rounding_scheme.h"
#include "net/quantize/sample_walk.h"
#include "quantize/statistics.h"

namespace nibble {

// By the value that stands for all that share a grid (RoundingScheme::grid_of). Samples are carried in groups, so that
// memory is that of a few; `also` is called with every value of each group. Error(unusable_input): a value that is not
// finite, by the sample that makes it.
using ValueStatistics = std::map<ValueId, SiteStatistics>;
ValueStatistics observe_values(const Net& net, const RoundingScheme& scheme, std::span<const NetSample> samples,
                               Machine& machine, const std::function<void(ValueId, const SampleValues&)>& also = {});

// Grids of the values asked for, by a rule for activations (quantize/fit/activation_fit.h).
ValueGrids fit_grids(const ValueStatistics& seen, const RoundingScheme& scheme, const std::set<ValueId>& values,
                     bool has_zero_points, const FitOptions& fit);

}  // namespace nibble
