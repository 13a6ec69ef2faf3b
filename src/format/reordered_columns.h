// SPDX-License-Identifier: Apache-2.0
//
// A tensor whose columns are read in another order, as f32 numbers: where containers put what a matrix reads in
// different places. Immutable, safe from many threads.
//
//   TensorSource moved = reordered_columns(source, order);   // column c of `moved` is the source's column order[c]
#pragma once

#include <cstdint>
#include <vector>

#include "format/tensor_source.h"

namespace nibble {

// order: [cols], each column once.
TensorSource reordered_columns(const TensorSource& source, std::vector<std::uint32_t> order);

}  // namespace nibble
