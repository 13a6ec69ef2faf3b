// SPDX-License-Identifier: Apache-2.0
//
// The scale of which numbers are whole multiples, found from the numbers alone: what was decoded from integers and a
// scale can be stored as integers and that scale again, bit for bit.
//
//   const float d = find_common_step(x, -8, 7, [](float s) { return f16_to_f32(to_f16_saturated(s)); });
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace nibble {

// s with x[i] == k * s in f32, k from low to high, and stored(s) == s; 0 where there is none, or nothing but zeros.
template <class Stored>
float find_common_step(std::span<const float> x, int low, int high, Stored stored) {
  float least = 0, largest = 0;
  for (const float value : x) {
    const float magnitude = std::fabs(value);
    largest = std::max(largest, magnitude);
    if (magnitude > 0 && (least == 0 || magnitude < least)) least = magnitude;
  }
  if (least == 0) return 0;
  const int reach = std::max(-low, high);
  for (int j = 1; j <= reach; ++j) {
    const float step = least / static_cast<float>(j);
    if (largest > step * (static_cast<float>(reach) + 0.5f)) break;  // smaller ones reach less far
    if (step * static_cast<float>(j) != least) continue;
    for (const float s : {step, -step}) {
      if (stored(s) != s) continue;
      const bool holds = std::all_of(x.begin(), x.end(), [&](float value) {
        const float k = std::nearbyint(value / s);
        return k >= static_cast<float>(low) && k <= static_cast<float>(high) && k * s == value;
      });
      if (holds) return s;
    }
  }
  return 0;
}

}  // namespace nibble
