// SPDX-License-Identifier: Apache-2.0
//
// The scale of which numbers are whole multiples, or whole multiples from an offset on, found from the numbers alone:
// what was decoded from integers, a scale and an offset can be stored as these again, bit for bit.
//
//   const auto half = [](float s) { return f16_to_f32(to_f16_saturated(s)); };
//   const float d = find_common_step(x, -8, 7, half);
//   const std::optional<Steps> steps = find_common_steps(x, 15, half);
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
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
    // Products of scales with 24 bits are rounded: the scale may be a neighbour of the quotient.
    for (const float s : {step, -step, std::nextafter(step, 0.0f), std::nextafter(step, largest)}) {
      if (std::fabs(s * static_cast<float>(j)) != least || stored(s) != s) continue;
      const bool holds = std::all_of(x.begin(), x.end(), [&](float value) {
        const float k = std::nearbyint(value / s);
        return k >= static_cast<float>(low) && k <= static_cast<float>(high) && k * s == value;
      });
      if (holds) return s;
    }
  }
  return 0;
}

// Where integers k lie: at k * size + offset, each operation rounded to f32.
struct Steps {
  float size = 0, offset = 0;
};

// x[i] == k * size + offset, k from 0 to high, and stored(size) == size, stored(offset) == offset. The products must be
// exact: codes and stored numbers of at most 24 bits together. Grids are found whose offset is no smaller than about
// 2^-12 of the largest magnitude, or 0; of smaller ones the sums may not tell.
template <class Stored>
std::optional<Steps> find_common_steps(std::span<const float> x, int high, Stored stored) {
  const auto [least, most] = std::ranges::minmax(x);
  const auto holds = [&](Steps steps) {
    return stored(steps.size) == steps.size && stored(steps.offset) == steps.offset &&
           std::ranges::all_of(x, [&](float value) {
             const float k = steps.size == 0 ? 0 : std::nearbyint((value - steps.offset) / steps.size);
             return k >= 0 && k <= static_cast<float>(high) && k * steps.size + steps.offset == value;
           });
  };
  const float reach = most - least;
  if (reach == 0) {  // one number: an offset, or one step beside one
    const Steps steps{least - stored(least), stored(least)};
    return holds(steps) ? std::optional(steps) : std::nullopt;
  }
  const float slack = 0x1p-22f * std::max(std::fabs(least), std::fabs(most));  // what rounded sums do to a difference
  for (int between = 1; between <= high; ++between) {
    const float size = stored(reach / static_cast<float>(between));
    if (!(std::fabs(size * static_cast<float>(between) - reach) <= slack)) continue;
    for (int below = 0; below <= high - between; ++below) {
      const float outside = static_cast<float>(below) * size;
      for (const Steps steps : {Steps{size, stored(least - outside)}, Steps{-size, stored(most + outside)}})
        if (holds(steps)) return steps;
    }
  }
  return std::nullopt;
}

}  // namespace nibble
