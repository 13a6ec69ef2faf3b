// SPDX-License-Identifier: Apache-2.0
//
// Walks over values of any number of dimensions, row-major: what operations of small nets are evaluated with. Pure
// functions.
//
//   const Strided a = broadcast_strides(inputs[0], shape), b = broadcast_strides(inputs[1], shape);
//   for_each_row<2>(extents_of(shape), {a, b}, [&](std::size_t out, std::array<std::size_t, 2> at) { ... });
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "graph/operation.h"

namespace nibble {

using Extents = std::vector<std::uint64_t>;

// No value of a small net has more numbers than this.
inline constexpr std::uint64_t kMostNumbers = std::uint64_t{1} << 28;

Extents extents_of(const Dimensions& dimensions);
// How many numbers there are, batch and tokens counted. Error(internal): more than kMostNumbers.
std::uint64_t numbers_of(const Dimensions& dimensions);
std::uint64_t numbers_of(std::span<const std::uint64_t> extents);
// Dimensions named by how many there are: of four batch, channel, height and width; of three batch, channel and width;
// of two batch and channel; of others the last is the channel.
Dimensions named(std::span<const std::uint64_t> extents);
// The same names in another order or number, with new extents.
Dimensions with_extents(Dimensions dimensions, std::span<const std::uint64_t> extents);

// The shape of what two values make that are repeated along extents of 1, aligned at their last dimensions. Error
// (internal) names the operation where they do not fit.
Dimensions broadcast(const Dimensions& a, const Dimensions& b, std::string_view operation);

// Where a number lies in a value: base + the sum of index * stride.
struct Strided {
  std::vector<std::ptrdiff_t> strides;
  std::ptrdiff_t base = 0;
};
std::vector<std::ptrdiff_t> row_major(std::span<const std::uint64_t> extents);
// Of a value that is repeated to `shape`.
Strided broadcast_strides(const Dimensions& value, const Dimensions& shape);

// Calls body(place of the row's first output, places of its first operands) for each row of the last dimension; along
// it operands go on by their last strides. extents: of the output, which is row-major; none: one row of one number.
template <std::size_t N, class Body>
void for_each_row(const Extents& extents, const std::array<Strided, N>& operands, Body&& body) {
  const std::size_t outer = extents.empty() ? 0 : extents.size() - 1;
  const std::size_t length = extents.empty() ? 1 : static_cast<std::size_t>(extents.back());
  std::size_t rows = 1;
  for (std::size_t d = 0; d < outer; ++d) rows *= static_cast<std::size_t>(extents[d]);
  std::vector<std::uint64_t> index(outer, 0);
  std::array<std::ptrdiff_t, N> at{};
  for (std::size_t n = 0; n < N; ++n) at[n] = operands[n].base;
  for (std::size_t row = 0; row < rows; ++row) {
    std::array<std::size_t, N> places{};
    for (std::size_t n = 0; n < N; ++n) places[n] = static_cast<std::size_t>(at[n]);
    body(row * length, places);
    for (std::size_t d = outer; d-- > 0;) {
      for (std::size_t n = 0; n < N; ++n) at[n] += operands[n].strides[d];
      if (++index[d] < extents[d]) break;
      for (std::size_t n = 0; n < N; ++n) at[n] -= operands[n].strides[d] * static_cast<std::ptrdiff_t>(extents[d]);
      index[d] = 0;
    }
  }
}

}  // namespace nibble
