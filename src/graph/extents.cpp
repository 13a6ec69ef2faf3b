// SPDX-License-Identifier: Apache-2.0
#include "graph/extents.h"

#include <algorithm>

namespace nibble {

Extents extents_of(const Dimensions& dimensions) {
  Extents extents;
  for (const Dimension& dimension : dimensions) extents.push_back(dimension.extent);
  return extents;
}

std::uint64_t numbers_of(std::span<const std::uint64_t> extents) {
  if (std::ranges::find(extents, 0u) != extents.end()) return 0;
  std::uint64_t numbers = 1;
  for (const std::uint64_t extent : extents) {
    require_drawable(extent <= kMostNumbers / numbers, "a value", "more numbers than a small net has");
    numbers *= extent;
  }
  return numbers;
}

std::uint64_t numbers_of(const Dimensions& dimensions) { return numbers_of(extents_of(dimensions)); }

Dimensions named(std::span<const std::uint64_t> extents) {
  constexpr std::array kImage = {Axis::batch, Axis::channel, Axis::height, Axis::width};
  Dimensions dimensions;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    Axis axis = i + 1 == extents.size() ? Axis::channel : Axis::other;
    if (extents.size() == 4)
      axis = kImage[i];
    else if (extents.size() == 3)
      axis = i == 2 ? Axis::width : kImage[i];
    else if (extents.size() == 2)
      axis = kImage[i];
    dimensions.push_back({axis, extents[i]});
  }
  return dimensions;
}

Dimensions with_extents(Dimensions dimensions, std::span<const std::uint64_t> extents) {
  if (dimensions.size() != extents.size()) return named(extents);
  for (std::size_t i = 0; i < extents.size(); ++i) dimensions[i].extent = extents[i];
  return dimensions;
}

Dimensions broadcast(const Dimensions& a, const Dimensions& b, std::string_view operation) {
  const Dimensions& longer = a.size() >= b.size() ? a : b;
  const Dimensions& shorter = a.size() >= b.size() ? b : a;
  Dimensions shape = longer;
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    std::uint64_t& extent = shape[longer.size() - shorter.size() + i].extent;
    const std::uint64_t other = shorter[i].extent;
    require_drawable(extent == other || extent == 1 || other == 1, operation, "values whose shapes do not fit");
    if (extent == 1) extent = other;
  }
  return shape;
}

std::vector<std::ptrdiff_t> row_major(std::span<const std::uint64_t> extents) {
  std::vector<std::ptrdiff_t> strides(extents.size(), 1);
  for (std::size_t i = extents.size(); i-- > 1;) strides[i - 1] = strides[i] * static_cast<std::ptrdiff_t>(extents[i]);
  return strides;
}

Strided broadcast_strides(const Dimensions& value, const Dimensions& shape) {
  const std::vector<std::ptrdiff_t> own = row_major(extents_of(value));
  Strided strided{std::vector<std::ptrdiff_t>(shape.size(), 0)};
  for (std::size_t i = 0; i < value.size(); ++i)
    if (value[i].extent != 1) strided.strides[shape.size() - value.size() + i] = own[i];
  return strided;
}

}  // namespace nibble
