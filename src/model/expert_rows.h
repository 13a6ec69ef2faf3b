// SPDX-License-Identifier: Apache-2.0
//
// One expert's matrix in a stack that holds it otherwise than row below row: columns by rows, or between the rows of
// another kind. Rows are gathered as they are read; nothing is kept. Borrows the stack's bytes. Internal to model/;
// safe from many threads.
//
//   // rows 1, 3, 5, ... of the rows from `first` on
//   one.values = gather_rows(stack.values, rows, first + 1, 2);
#pragma once

#include <cstdint>

#include "format/tensor_source.h"

namespace nibble {

// Where the number in row r and column c of a matrix lies: begin + r * row + c * column, in numbers from a stack's
// first.
struct ElementPlaces {
  std::uint64_t begin = 0, row = 0, column = 1;
};

// stack: of floating-point numbers, all places within it.
TensorSource gather_elements(const QuantizedView& stack, std::uint64_t rows, std::uint64_t cols,
                             const ElementPlaces& places);

// Rows begin, begin + step, ... of a stack in any format whose rows are stored each by itself.
TensorSource gather_rows(const TensorSource& stack, std::uint64_t rows, std::uint64_t begin, std::uint64_t step);

}  // namespace nibble
