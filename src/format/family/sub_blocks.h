// SPDX-License-Identifier: Apache-2.0
//
// One super-block of 256 values laid out for the grid searches of the two-level formats: element by element across
// sub-blocks, so that sums run over sub-blocks side by side ("lanes") and never across. Results therefore do not depend
// on the width of vectors (lanes.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "format/lanes.h"
#include "format/scale.h"

namespace nibble::inline NIBBLE_LANES {

inline constexpr std::size_t kSuperBlock = 256;

// Values are held inside this magnitude while searching: far outside what any of the formats can store, small enough to
// be squared.
inline constexpr float kLargestSearched = 1e12F;
// Largest values below this decode to zeros in every format: half of the smallest step, 2^-24.
inline constexpr float kSmallestSearched = 0x1p-26F;
// An unimportant column still counts this much, so that sub-blocks of nothing but unimportant columns get a sensible
// grid.
inline constexpr float kLeastImportance = 1e-10F;

// Adding and subtracting this rounds a float below 2^22 in magnitude to the nearest integer, ties to even, without a
// library call.
inline constexpr float kRoundingBias = 12582912.F;
[[gnu::always_inline]] inline float to_nearest_even(float value) { return (value + kRoundingBias) - kRoundingBias; }
[[gnu::always_inline]] inline float clamp_to(float value, float low, float high) {
  value = value > low ? value : low;
  return value < high ? value : high;
}

// The nearest finite half, as a float, of a scale that must not vanish.
[[gnu::always_inline]] inline float nearest_scale(float value) {
  const float half = f16_to_f32(to_f16_saturated(value));
  return half == 0 && value > 0 ? kMinF16 : half;
}

// Importance as the searches use it: scaled so that its largest value is 1; ones where there is none (null) or nothing
// but zeros.
[[gnu::always_inline]] inline void scale_importance(const float* importance, float* w) {
  float heaviest = 0;
  for (std::size_t i = 0; importance != nullptr && i < kSuperBlock; ++i) heaviest = std::max(heaviest, importance[i]);
  for (std::size_t i = 0; i < kSuperBlock; ++i)
    w[i] = heaviest > 0 ? std::max(importance[i] / heaviest, kLeastImportance) : 1.F;
}

// Lane l holds 16 values of sub-block l % kSubs: all of them where there are 16 sub-blocks, one half where there are 8.
// Both lanes of a sub-block carry the same parameters and, after join(), the same sums.
inline constexpr std::size_t kLaneLength = kSuperBlock / kLanes;

template <std::size_t kSubs>
struct SubBlocks {
  static_assert(kSubs == 8 || kSubs == 16);
  alignas(64) float x[kLaneLength][kLanes];
  alignas(64) float w[kLaneLength][kLanes];  // ones when there is no importance
  float largest = 0;                         // magnitude
  bool weighted = false;                     // whether there is an importance

  // values: 256, finite; importance: null or 256 non-negative weights.
  [[gnu::always_inline]] SubBlocks(const float* values, const float* importance) : weighted(importance != nullptr) {
    lay_out(values, x);
    Vector magnitude{};
    for (std::size_t e = 0; e < kLaneLength; ++e)
      for (std::size_t l = 0; l < kLanes; l += kWidth) {
        const Vector value = clamp(load(x[e] + l), -kLargestSearched, kLargestSearched);
        store(x[e] + l, value);
        magnitude = max(max(value, -value), magnitude);
      }
    alignas(64) float magnitudes[kWidth];
    store(magnitudes, magnitude);
    for (const float lane : magnitudes) largest = largest < lane ? lane : largest;
    if (importance == nullptr) {
      for (std::size_t e = 0; e < kLaneLength; ++e)
        for (std::size_t l = 0; l < kLanes; l += kWidth) store(w[e] + l, splat(1));
    } else {
      float weights[kSuperBlock];
      scale_importance(importance, weights);
      lay_out(weights, w);
    }
  }

  // value times the weights of row e, part v, unless all weights are known to be ones: the same bits.
  template <bool kWeighted>
  [[gnu::always_inline]] Vector weigh(std::size_t e, std::size_t v, Vector value) const {
    if constexpr (kWeighted) return load(w[e] + v * kWidth) * value;
    return value;
  }

  // 16 runs of 16 values turned over, four by four.
  [[gnu::always_inline]] static void lay_out(const float* values, float (*out)[kLanes]) {
    for (std::size_t lane = 0; lane < kLanes; lane += 4)
      for (std::size_t e = 0; e < kLaneLength; e += 4) {
        const float* from = values + (lane % kSubs) * (kSuperBlock / kSubs) + (lane / kSubs) * kLaneLength + e;
        transpose_4x4(from, kSuperBlock / kSubs, out[e] + lane, kLanes);
      }
  }

  [[gnu::always_inline]] static void join(Lanes& sums) {
    if constexpr (kSubs == 8) {
      const Lanes others = swap_halves(sums);
      for (std::size_t v = 0; v < kVectors; ++v) sums[v] += others[v];
    }
  }
};

}  // namespace nibble::inline NIBBLE_LANES
