// SPDX-License-Identifier: Apache-2.0
//
// Where the numbers of a value lie while a compiled net runs: in which buffer, and how far apart along each dimension.
// Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/extents.h"

namespace nibble::net_engine {

using BufferId = std::uint32_t;

enum class Element { f32, code };  // code: a byte
inline std::size_t bytes_of(Element element) { return element == Element::f32 ? 4 : 1; }

// rows: as a value is drawn. places: channels last, with room around for what convolutions see outside.
enum class Layout { rows, places };

struct View {
  BufferId buffer = 0;
  Element element = Element::f32;
  std::ptrdiff_t offset = 0;  // of the first number, in elements
  Extents extents;
  std::vector<std::ptrdiff_t> strides;  // in elements
};

// Places beside an image, filled with zeros, or with the code of zero.
struct Border {
  std::uint64_t top = 0, left = 0, bottom = 0, right = 0;
  bool is_none() const { return top + left + bottom + right == 0; }
  void include(const Border& other);
};

// Images, channels, height and width of a value that can lie channels last.
struct ImageExtents {
  std::size_t images = 1, channels = 1, height = 1, width = 1;
  static bool fit(std::size_t rank) { return rank == 3 || rank == 4; }
  static ImageExtents of(const Extents& extents);
};

// Without buffer and element. numbers: that the buffer has to hold.
View rows_view(const Extents& extents);
View places_view(const Extents& extents, const Border& border, std::size_t& numbers);

// Walks over several views of one shape at once, in the order of the first, with as long an inner loop as they allow.
template <std::size_t N>
class Walk {
 public:
  Walk() = default;
  // strides: of each view, for each extent; bases are added.
  Walk(const Extents& extents, const std::array<std::vector<std::ptrdiff_t>, N>& strides,
       const std::array<std::ptrdiff_t, N>& bases);

  std::size_t count() const { return count_; }                          // of the inner loop
  std::ptrdiff_t step(std::size_t view) const { return steps_[view]; }  // along it
  std::size_t rounds() const { return rounds_; }

  // body(where the inner loop begins in each view)
  template <class Body>
  void operator()(Body&& body) const {
    std::array<std::size_t, kMostDimensions> index{};
    std::array<std::ptrdiff_t, N> at = bases_;
    for (std::size_t round = 0; round < rounds_; ++round) {
      body(at);
      for (std::size_t d = depth_; d-- > 0;) {
        for (std::size_t n = 0; n < N; ++n) at[n] += strides_[d][n];
        if (++index[d] < extents_[d]) break;
        for (std::size_t n = 0; n < N; ++n) at[n] -= strides_[d][n] * static_cast<std::ptrdiff_t>(extents_[d]);
        index[d] = 0;
      }
    }
  }

 private:
  static constexpr std::size_t kMostDimensions = 16;
  std::array<std::size_t, kMostDimensions> extents_{};
  std::array<std::array<std::ptrdiff_t, N>, kMostDimensions> strides_{};
  std::array<std::ptrdiff_t, N> bases_{}, steps_{};
  std::size_t depth_ = 0, rounds_ = 0, count_ = 0;
};

extern template class Walk<1>;
extern template class Walk<2>;
extern template class Walk<3>;

}  // namespace nibble::net_engine
