// SPDX-License-Identifier: Apache-2.0
//
// The largest magnitude of a matrix and where it lies, found while its bytes are read for something else. As integers,
// the bits of floating point numbers without their signs have the order of the magnitudes, infinity and NaN above all
// others: no number is converted on the way. One search from one thread; peak_of() from any.
//
//   PeakSearch search(DType::bf16, cols);
//   for (const auto piece : pieces) search.add(piece);
//   const WeightPeak peak = search.peak();
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "format/tensor_source.h"
#include "tensor/dtype.h"

namespace nibble {

struct WeightPeak {
  float magnitude = 0;
  std::uint64_t row = 0, column = 0;  // of the first such element
  bool is_finite = true;              // false: there is an infinite element or a NaN, and no more is known
};

class PeakSearch {
 public:
  // dtype: f32, f16 or bf16.
  PeakSearch(DType dtype, std::uint64_t cols) : dtype_(dtype), cols_(cols) {}
  // The next elements of the matrix, whole ones.
  void add(std::span<const std::byte> elements);
  WeightPeak peak() const;

 private:
  template <class Bits>
  void look(std::span<const std::byte> elements);

  DType dtype_;
  std::uint64_t cols_, count_ = 0, index_ = 0;
  std::uint32_t largest_ = 0;
};

// Reads or decodes the whole matrix, some rows at a time.
WeightPeak peak_of(const TensorSource& source);

}  // namespace nibble
