// SPDX-License-Identifier: Apache-2.0
#include "graph/op/window.h"

#include <algorithm>

#include "graph/operation.h"

namespace nibble {

std::uint64_t Window::num_taps() const {
  std::uint64_t product = 1;
  for (const std::uint64_t n : taps) product *= n;
  return product;
}

std::uint64_t Window::places(std::size_t dimension, std::uint64_t extent, bool rounds_up,
                             std::string_view operation) const {
  const std::uint64_t padded = extent + before[dimension] + behind[dimension];
  const std::uint64_t reach = (taps[dimension] - 1) * dilations[dimension] + 1, stride = strides[dimension];
  require_drawable(reach <= padded, operation, "windows that are larger than what they see");
  std::uint64_t count = (padded - reach + (rounds_up ? stride - 1 : 0)) / stride + 1;
  // The last one begins in x or in the pads before it.
  if (rounds_up && (count - 1) * stride >= extent + before[dimension]) --count;
  return count;
}

void Window::require_fit(const Dimensions& x, std::string_view operation) const {
  const std::size_t n = taps.size();
  require_drawable(n == 1 || n == 2, operation, "windows of other than one or two dimensions");
  require_drawable(x.size() == n + 2, operation, "an input of another number of dimensions");
  for (const auto* const numbers : {&strides, &dilations, &before, &behind})
    require_drawable(numbers->size() == n, operation, "a window of which not all is said");
  constexpr std::uint64_t kMost = std::uint64_t{1} << 24;
  for (std::size_t i = 0; i < n; ++i) {
    require_drawable(taps[i] > 0 && strides[i] > 0 && dilations[i] > 0, operation, "a window of no extent or step");
    require_drawable(std::max({taps[i], strides[i], dilations[i], before[i], behind[i]}) <= kMost, operation,
                     "a window that is too large");
  }
}

void Window::spell(std::vector<OnnxSetting>& settings, bool has_dilations) const {
  const auto integers = [](const std::vector<std::uint64_t>& numbers) {
    return std::vector<std::int64_t>(numbers.begin(), numbers.end());
  };
  std::vector<std::int64_t> pads = integers(before);
  pads.insert(pads.end(), behind.begin(), behind.end());
  settings.push_back({"kernel_shape", integers(taps)});
  settings.push_back({"strides", integers(strides)});
  if (has_dilations) settings.push_back({"dilations", integers(dilations)});
  settings.push_back({"pads", std::move(pads)});
}

Window::Plane Window::plane(const Dimensions& x) const {
  const auto at = [](const std::vector<std::uint64_t>& numbers, std::size_t i) {
    return static_cast<std::ptrdiff_t>(numbers[i]);
  };
  const std::size_t last = taps.size() - 1;
  Plane plane{.width = static_cast<std::size_t>(x[last + 2].extent), .tap_cols = static_cast<std::size_t>(taps[last])};
  plane.col_stride = at(strides, last);
  plane.col_step = at(dilations, last);
  plane.left = at(before, last);
  plane.right = at(behind, last);
  if (last == 0) return plane;
  plane.height = static_cast<std::size_t>(x[2].extent);
  plane.tap_rows = static_cast<std::size_t>(taps[0]);
  plane.row_stride = at(strides, 0);
  plane.row_step = at(dilations, 0);
  plane.top = at(before, 0);
  plane.bottom = at(behind, 0);
  return plane;
}

PlaceRange places_within(std::ptrdiff_t count, std::ptrdiff_t stride, std::ptrdiff_t shift, std::ptrdiff_t extent) {
  const std::ptrdiff_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  const std::ptrdiff_t end = shift >= extent ? 0 : (extent - shift + stride - 1) / stride;
  return {first, std::max(first, std::min(count, end))};
}

}  // namespace nibble
