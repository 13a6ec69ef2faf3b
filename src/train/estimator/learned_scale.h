// SPDX-License-Identifier: Apache-2.0
//
// What estimators with a learned scale share: rounding to the nearest point, and slopes between two bounds. Internal to
// estimator/.
#pragma once

#include <algorithm>
#include <cmath>

#include "train/estimator/estimator.h"

namespace nibble {

inline void round_to_points(const MasterRun& run, float scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = scale * run.points.nearest(run.masters[i] / scale);
}

// Of weights beyond the bounds, in units of the scale, there is no slope; that of the scale is their point there, and
// what rounding has changed between them (Esser et al. 2020). Two points have no inside: theirs is the point.
inline double slopes_within(const MasterRun& run, float scale, float low, float high, std::span<float> slopes) {
  const bool has_inside = run.points.points.size() > 2;
  double sum = 0;
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    const float place = run.masters[i] / scale, point = run.points.nearest(place);
    const bool is_within = place >= low && place <= high;
    const float by_scale = is_within && has_inside ? point - place : point;
    sum += static_cast<double>(slopes[i]) * static_cast<double>(by_scale);
    if (!is_within) slopes[i] = 0;
  }
  return sum;
}

inline std::string refusal_of_tables(const CodePoints& points, std::string_view name) {
  return points.are_learned() ? std::string(name) + " takes points that are the same for all grids" : std::string();
}

inline double balance(const MasterRun& run, double largest_point) {
  return 1 / std::sqrt(static_cast<double>(run.masters.size()) * largest_point);
}

}  // namespace nibble
