// SPDX-License-Identifier: Apache-2.0
//
// One tensor in two files of a network, number by number, whatever containers and formats they are in. Internal to
// pipeline/.
//
//   const ModelTensor* other = counterpart(tensor, file, original);
//   const TensorDifference difference = measure_difference(tensor, file, *other, original, pool);
#pragma once

#include <cstdint>
#include <string>

#include "base/thread_pool.h"
#include "model/source_model.h"

namespace nibble {

struct TensorDifference {
  std::string name;  // as the file has it
  std::string format, other_format;
  std::uint64_t numbers = 0, changed = 0;
  double largest = 0;                   // |difference|, or infinite where one of the two is no number
  double differences = 0, squares = 0;  // sums of the squares of differences and of the other's numbers, row by row
  std::uint64_t row = 0, col = 0;       // of the first that differs, in the file's order

  // Root of the sum of differences by that of squares; infinite where one of two is no number, or differs from nothing
  // but zeros.
  double relative_rms() const;
};

// The same part, of the same shape, in the other file; null: it has none.
const ModelTensor* counterpart(const ModelTensor& tensor, const SourceModel& other);

// tensor: of the file, theirs: of the other. Zeros of either sign are one number. The same figures on any number of
// threads. What both have mapped for it is released.
TensorDifference measure_difference(const ModelTensor& tensor, const SourceModel& file, const ModelTensor& theirs,
                                    const SourceModel& other, ThreadPool& pool);

}  // namespace nibble
