// SPDX-License-Identifier: Apache-2.0
//
// What one thread does of the operations in recurrent.h, as kernels take it.
#pragma once

#include <cstddef>

namespace nibble {

inline constexpr std::size_t kMostTaps = 32;  // of a convolution; drawings may have no more

// Some channels of a convolution. state, x and out: rows `stride` apart.
struct ConvolvedChannels {
  float* state;  // [num_taps - 1, channels]
  const float* x;
  float* out;
  std::size_t stride;
  const float* taps;  // [channels, num_taps]
  std::size_t num_taps, channels, tokens;
  bool activates;
};

// Some columns of one head's state, which do not see each other.
struct DeltaColumns {
  float* state;  // [depth, columns], rows state_stride apart
  std::size_t state_stride, depth, columns, tokens;
  const float *query, *key;  // [tokens, depth], rows key_stride apart
  std::size_t key_stride;
  const float* value;  // [tokens, columns], rows `stride` apart, as out's
  float* out;
  std::size_t stride;
  const float *kept, *learnt;  // [tokens]
  float scale;
};

}  // namespace nibble
