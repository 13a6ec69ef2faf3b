// SPDX-License-Identifier: Apache-2.0
//
// The matrix that makes keys and values of a latent vector, where a file holds its two halves apart and keys turned
// around: keys [heads, latent, key_dim], values [heads, value_dim, latent]. Rows are put together as they are read.
// Borrows both; internal to model/; safe from many threads.
//
//   one.values = join_latent_halves(keys.values, values.values, {.heads = 16, .key_dim = 128, .value_dim = 128});
#pragma once

#include <cstdint>

#include "format/tensor_source.h"

namespace nibble {

struct LatentHalfShape {
  std::uint64_t heads = 0, key_dim = 0, value_dim = 0;
};

// [heads * (key_dim + value_dim), latent], of each head what makes its key above what makes its value. In the type of
// both where they are of one floating-point type, else in f32.
TensorSource join_latent_halves(const TensorSource& keys, const TensorSource& values, const LatentHalfShape& shape);

}  // namespace nibble
