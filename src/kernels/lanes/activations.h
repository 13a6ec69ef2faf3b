// SPDX-License-Identifier: Apache-2.0
//
// Dynamic quantization of activations to int8, one scale for every 128 columns of a token.
#pragma once

#include "kernels/integer_shape.h"

namespace nibble::lanes {

template <class F32>
static void quantize_activations(const float* x, std::size_t count, std::size_t group, std::int32_t middle, std::int8_t* codes, float* scales,
                                 std::int32_t* biases, float* sums, std::int8_t* sum_codes) {
  const F32 shift = F32::set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, whose two's complement is then the lowest byte
  std::size_t g = 0;
  for (std::size_t i = 0; i < kSumCodes; ++i) sum_codes[i] = 0;
  for (std::size_t start = 0; start < kBlockDepth; start += kActivationDepth) {
    const std::size_t n = count <= start ? 0 : count - start < kActivationDepth ? count - start : kActivationDepth;
    F32 values[kActivationDepth / 16], largest = F32::set(0);
    for (std::size_t i = 0; i < kActivationDepth / 16; ++i) {
      const std::size_t at = 16 * i;
      values[i] = at + 16 <= n ? F32::load(x + start + at) : at < n ? F32::load_part(x + start + at, n - at) : F32::set(0);
      largest = max(largest, absolute(values[i]));
    }
    const float top = max_lanes(largest);
    const bool nothing = !(top > 1e-35f);  // smaller would overflow the inverse
    scales[start / kActivationDepth] = nothing ? 0.0f : top / 127.0f;
    const F32 inverse = F32::set(nothing ? 0.0f : 127.0f / top);
    float sum = 0;
    std::size_t in_run = 0;
    for (std::size_t i = 0; i < kActivationDepth / 16; ++i) {
      const F32 shifted = add(mul(values[i], inverse), shift);
      store_low_bytes(shifted, codes + start + 16 * i);
      sum += sum_lanes(sub(shifted, shift));  // exact: integers below 2^14
      if ((16 * i + 16) % group == 0 || i + 1 == kActivationDepth / 16) {
        sums[g] = sum;
        const std::int32_t whole = static_cast<std::int32_t>(sum);
        biases[g] = -middle * whole;
        std::int8_t* const parts = sum_codes + start / kActivationDepth * (kSumCodes / 2) + in_run++;
        parts[0] = static_cast<std::int8_t>(whole & 63);
        parts[8] = static_cast<std::int8_t>(whole >> 6);  // |whole| <= 127 * 32 where anybody asks
        sum = 0;
        ++g;
      }
    }
  }
}

}  // namespace nibble::lanes
