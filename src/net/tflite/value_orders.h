// SPDX-License-Identifier: Apache-2.0
//
// In which order a net's values lie where channels come last: what windows go over, and what is computed from that
// number by number. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "net/net.h"

namespace nibble {

// drawn: batch, channels, places; channels_last: batch, places, channels. The same where there are no places.
enum class ValueOrder { drawn, channels_last };

// By value: the order in which it is best made.
std::vector<ValueOrder> value_orders(const Net& net);

// Of each dimension as it lies, which one of the drawing it is; and the other way.
std::vector<std::uint64_t> dimensions_of(ValueOrder order, std::size_t rank);
std::uint64_t place_of(ValueOrder order, std::size_t rank, std::uint64_t dimension);

// What is said by dimension, in the order in which they lie.
template <class T>
std::vector<T> ordered(std::span<const T> by_dimension, ValueOrder order) {
  std::vector<T> made;
  for (const std::uint64_t dimension : dimensions_of(order, by_dimension.size()))
    made.push_back(by_dimension[dimension]);
  return made;
}

}  // namespace nibble
