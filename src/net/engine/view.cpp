// SPDX-License-Identifier: Apache-2.0
#include "net/engine/view.h"

#include <algorithm>
#include <cstdlib>

#include "nibble/error.h"

namespace nibble::net_engine {

void Border::include(const Border& other) {
  top = std::max(top, other.top);
  left = std::max(left, other.left);
  bottom = std::max(bottom, other.bottom);
  right = std::max(right, other.right);
}

ImageExtents ImageExtents::of(const Extents& extents) {
  return {static_cast<std::size_t>(extents[0]), static_cast<std::size_t>(extents[1]),
          extents.size() == 4 ? static_cast<std::size_t>(extents[2]) : 1, static_cast<std::size_t>(extents.back())};
}

View rows_view(const Extents& extents) { return {.extents = extents, .strides = row_major(extents)}; }

View places_view(const Extents& extents, const Border& border, std::size_t& numbers) {
  const ImageExtents image = ImageExtents::of(extents);
  const std::size_t width = image.width + static_cast<std::size_t>(border.left + border.right);
  const std::size_t height = image.height + static_cast<std::size_t>(border.top + border.bottom);
  const auto place = static_cast<std::ptrdiff_t>(image.channels),
             row = static_cast<std::ptrdiff_t>(image.channels * width),
             whole = static_cast<std::ptrdiff_t>(image.channels * width * height);
  numbers = image.images * static_cast<std::size_t>(whole);
  View view{.offset = static_cast<std::ptrdiff_t>(border.top) * row + static_cast<std::ptrdiff_t>(border.left) * place,
            .extents = extents,
            .strides = {whole, 1}};
  if (extents.size() == 4) view.strides.push_back(row);
  view.strides.push_back(place);
  return view;
}

template <std::size_t N>
Walk<N>::Walk(const Extents& extents, const std::array<std::vector<std::ptrdiff_t>, N>& strides,
              const std::array<std::ptrdiff_t, N>& bases)
    : bases_(bases) {
  struct Dimension {
    std::size_t extent;
    std::array<std::ptrdiff_t, N> strides;
  };
  std::vector<Dimension> dimensions;
  for (std::size_t d = 0; d < extents.size(); ++d) {
    if (extents[d] == 0) return;  // nothing is walked over
    if (extents[d] == 1) continue;
    Dimension one{static_cast<std::size_t>(extents[d]), {}};
    for (std::size_t n = 0; n < N; ++n) one.strides[n] = strides[n][d];
    dimensions.push_back(one);
  }
  std::ranges::stable_sort(dimensions, [](const Dimension& a, const Dimension& b) {
    return std::abs(a.strides[0]) > std::abs(b.strides[0]);
  });
  // Two dimensions are one where all views go on from the inner one's end to the outer one's next.
  std::vector<Dimension> joined;
  for (const Dimension& one : dimensions) {
    bool goes_on = !joined.empty();
    for (std::size_t n = 0; n < N && goes_on; ++n)
      goes_on = joined.back().strides[n] == one.strides[n] * static_cast<std::ptrdiff_t>(one.extent);
    if (goes_on)
      joined.back() = {joined.back().extent * one.extent, one.strides};
    else
      joined.push_back(one);
  }
  if (joined.size() > kMostDimensions)
    throw Error(ErrorKind::unsupported, "a value of more than 16 dimensions in a net that runs");
  // A short inner loop that does not go over neighbours gives way to the longest one.
  if (joined.size() > 1 && joined.back().extent < 16 &&
      std::ranges::any_of(joined.back().strides, [](std::ptrdiff_t s) { return s != 0 && s != 1; }))
    std::swap(*std::ranges::max_element(joined, {}, &Dimension::extent), joined.back());
  rounds_ = 1;
  count_ = 1;
  if (joined.empty()) return;
  count_ = joined.back().extent;
  steps_ = joined.back().strides;
  depth_ = joined.size() - 1;
  for (std::size_t d = 0; d < depth_; ++d) {
    extents_[d] = joined[d].extent;
    strides_[d] = joined[d].strides;
    rounds_ *= joined[d].extent;
  }
}

template class Walk<1>;
template class Walk<2>;
template class Walk<3>;

}  // namespace nibble::net_engine
