// SPDX-License-Identifier: Apache-2.0
//
// The points of MXFP4 and NVFP4 as ggml codes them: E2M1 floats, doubled so that they are integers: 0 1 2 3 4 6 8 12,
// with bit 3 the sign. A code and its negative zero decode alike; encoders never choose code 8.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "format/format.h"
#include "format/span_loops.h"

namespace nibble {

inline constexpr float kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12};

// The code nearest to `scaled`; ties go to the smaller magnitude, as the reference's first-come search has it.
inline Code nearest_doubled_e2m1(float scaled) {
  const float m = std::fabs(scaled);
  const int magnitude = (m > 0.5f) + (m > 1.5f) + (m > 2.5f) + (m > 3.5f) + (m > 5.0f) + (m > 7.0f) + (m > 10.0f);
  return static_cast<Code>(magnitude == 0 || scaled > 0 ? magnitude : magnitude + 8);
}

// The same for loops over many values.
inline constexpr std::array<float, 16> kSortedE2M1{-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 0};
inline constexpr std::array<std::uint8_t, 16> kSortedE2M1Codes{15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 0};
inline constexpr std::array<float, 16> kE2M1Middles = [] {
  std::array<float, 16> middles{};
  middles.fill(std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < 14; ++i) {
    const float middle = 0.5f * (kSortedE2M1[i] + kSortedE2M1[i + 1]);
    // A tie goes up where up is towards zero: the middle itself counts as above.
    middles[i] = middle < 0 ? std::bit_cast<float>(std::bit_cast<std::uint32_t>(middle) + 1) : middle;
  }
  return middles;
}();
inline constexpr UnitPoints kDoubledE2M1Points{.kind = UnitPoints::Kind::listed,
                                               .values = kSortedE2M1.data(),
                                               .middles = kE2M1Middles.data(),
                                               .codes = kSortedE2M1Codes.data()};

}  // namespace nibble
