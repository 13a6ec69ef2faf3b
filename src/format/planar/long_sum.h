// SPDX-License-Identifier: Apache-2.0
//
// Sums over whole tensors in f32 lanes, in an order that does not depend on the processor.
#pragma once

#include <algorithm>
#include <cstddef>

namespace nibble {

// sum of term(i): float lanes within runs of 4096, doubles across them, so that whole tensors can be summed.
template <class Term>
double long_sum(std::size_t n, Term term) {
  double total = 0;
  for (std::size_t begin = 0; begin < n; begin += 4096) {
    const std::size_t end = std::min(n, begin + 4096);
    float lanes[16] = {};
    std::size_t i = begin;
    for (; i + 16 <= end; i += 16)
      for (std::size_t j = 0; j < 16; ++j) lanes[j] += term(i + j);
    for (; i < end; ++i) lanes[i % 16] += term(i);
    for (std::size_t width = 8; width > 0; width /= 2)
      for (std::size_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
    total += static_cast<double>(lanes[0]);
  }
  return total;
}

}  // namespace nibble
