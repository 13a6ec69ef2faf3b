// SPDX-License-Identifier: Apache-2.0
//
// Where to cut a range off before the plain rules see it: FitRule::percentile and FitRule::entropy are "clip, then
// absmax". Pure functions.
//
// percentile: the given share of a group's magnitudes stays inside. Between two magnitudes it is interpolated, so that
// it means something for groups of 32, too, where 99.9 % of the values is all but a thirtieth of one.
//
// entropy: the cut after which the quantized distribution of magnitudes is closest to the original in Kullback-Leibler
// divergence (Migacz, "8-bit inference with TensorRT", GTC 2017), which calibrates activations, adapted to weights:
// groups are too short for a histogram of their own, so the cut is found on a whole row and holds for all groups of it;
// those that do not reach it are left alone.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "format/format.h"

namespace nibble {

constexpr bool is_clipping(FitRule rule) { return rule == FitRule::percentile || rule == FitRule::entropy; }

// The magnitude below which `percentile` percent of the values lie, interpolated between neighbours; 100 and above: the
// largest.
float percentile_clip(std::span<const float> x, double percentile);

// The cut described above, for points with `num_levels` levels of magnitude. The largest magnitude where there are no
// levels, or too few values to tell: fewer than four a level.
float entropy_clip(std::span<const float> x, std::size_t num_levels);

// The same for a histogram of magnitudes in bins of equal width from 0 on: how many bins stay inside.
std::size_t entropy_cut(const std::vector<double>& histogram, std::size_t num_levels);

// Where a clipping rule cuts this group off; 0 where all its values are 0.
float clip_of(std::span<const float> group, std::size_t num_levels, const FitOptions& options);

// The options for the groups of one row: with FitRule::entropy, row_clip filled in; otherwise as they are.
FitOptions clip_for_row(std::span<const float> row, std::size_t num_levels, const FitOptions& options);

}  // namespace nibble
