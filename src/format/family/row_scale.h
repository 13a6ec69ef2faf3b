// SPDX-License-Identifier: Apache-2.0
//
// The grid of formats that have nothing but a scale for each row, in f16, fitted to the row's deviation: whoever
// chooses points for a whole row by feedback knows no better before. Internal to format/.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/half.h"
#include "format/scale.h"

namespace nibble {

struct RowScale {
  float scale;
};

inline RowScale read_row_scale(const std::byte* grid) {
  RowScale read;
  std::memcpy(&read, grid, sizeof(read));
  return read;
}

inline void write_row_scale(RowScale scale, std::byte* grid) { std::memcpy(grid, &scale, sizeof(scale)); }

// Of points whose deviation is `deviation` at a scale of one. reach: of the row's, in points' deviations.
inline RowScale fit_row_scale(std::span<const float> x, std::span<const float> importance, float reach,
                              float deviation) {
  double squares = 0, weights = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double weight = importance.empty() ? 1.0 : static_cast<double>(importance[i]);
    squares += weight * static_cast<double>(x[i]) * static_cast<double>(x[i]);
    weights += weight;
  }
  const double own = weights > 0 ? std::sqrt(squares / weights) : 0;
  const float scale = static_cast<float>(own) * reach / deviation;
  RowScale fitted{f16_to_f32(to_f16_saturated(scale))};
  if (scale > 0) fitted.scale = std::max(fitted.scale, kMinF16);  // coarse is better than zero
  return fitted;
}

// In a plane of F16.
inline float stored_row_scale(const std::byte* at) {
  std::uint16_t half;
  std::memcpy(&half, at, sizeof(half));
  return f16_to_f32(half);
}

inline void store_row_scale(float scale, std::byte* at) {
  const std::uint16_t half = to_f16_saturated(scale);
  std::memcpy(at, &half, sizeof(half));
}

}  // namespace nibble
