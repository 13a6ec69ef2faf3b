// SPDX-License-Identifier: Apache-2.0
#include "train/number_sizes.h"

#include <algorithm>
#include <cmath>

#include "format/planar/format.h"

namespace nibble {

std::vector<float> number_sizes(std::span<const float> numbers, const Format& format) {
  constexpr float kSmallest = 0.01F;  // of the largest
  float largest = 0;
  for (const float number : numbers) largest = std::max(largest, std::fabs(number));
  std::vector<float> sizes;
  sizes.reserve(numbers.size());
  for (const float number : numbers) sizes.push_back(std::max(std::fabs(number), kSmallest * largest));
  // Of an asymmetric grid: [scale, zero point].
  const PlanarSpec* const planar = find_planar_spec(format);
  for (std::size_t i = 1; i < sizes.size() && planar != nullptr && planar->is_asymmetric; i += 2) sizes[i] = 0;
  return sizes;
}

}  // namespace nibble
