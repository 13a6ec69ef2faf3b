// SPDX-License-Identifier: Apache-2.0
//
// Widening of quantized keys and values, a chunk of 64 positions at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble::lanes {

template <class F32>
static void widen_keys_8(const std::int8_t* codes, const std::uint16_t* scales, std::size_t depth, float* out) {
  for (std::size_t j = 0; j < 64; j += 16)
    for (std::size_t g = 0; g < depth / 32; ++g) {
      const F32 scale = F32::load_f16(scales + g * 64 + j);
      for (std::size_t d = g * 32; d < g * 32 + 32; ++d) mul(F32::load_i8(codes + d * 64 + j), scale).store(out + d * 64 + j);
    }
}

// The f16 in every lane.
template <class F32>
[[gnu::always_inline]] static inline F32 broadcast_f16(std::uint16_t bits) {
  const std::uint16_t copies[16] = {bits, bits, bits, bits, bits, bits, bits, bits, bits, bits, bits, bits, bits, bits, bits, bits};
  return F32::load_f16(copies);
}

template <class F32>
static void widen_values_8(const std::int8_t* codes, const std::uint16_t* scales, std::size_t depth, float* out) {
  for (std::size_t j = 0; j < 64; ++j)
    for (std::size_t g = 0; g < depth / 32; ++g) {
      const F32 scale = broadcast_f16<F32>(scales[j * (depth / 32) + g]);
      const std::size_t at = j * depth + g * 32;
      mul(F32::load_i8(codes + at), scale).store(out + at);
      mul(F32::load_i8(codes + at + 16), scale).store(out + at + 16);
    }
}

template <class F32>
static void widen_keys_4(const std::uint8_t* codes, const std::uint16_t* scales, std::size_t depth, float* out) {
  const F32 eight = F32::set(8);
  for (std::size_t j = 0; j < 64; j += 16)
    for (std::size_t g = 0; g < depth / 32; ++g) {
      const F32 scale = F32::load_f16(scales + g * 64 + j);
      for (std::size_t d = g * 32; d < g * 32 + 32; d += 2) {
        mul(sub(F32::load_low_nibbles(codes + d / 2 * 64 + j), eight), scale).store(out + d * 64 + j);
        mul(sub(F32::load_high_nibbles(codes + d / 2 * 64 + j), eight), scale).store(out + (d + 1) * 64 + j);
      }
    }
}

template <class F32>
static void widen_values_4(const std::uint8_t* codes, const std::uint16_t* scales, std::size_t depth, float* out) {
  const F32 eight = F32::set(8);
  for (std::size_t j = 0; j < 64; ++j)
    for (std::size_t g = 0; g < depth / 32; ++g) {
      const F32 scale = broadcast_f16<F32>(scales[j * (depth / 32) + g]);
      const std::size_t at = j * depth + g * 32;
      mul(sub(F32::load_low_nibbles(codes + at / 2), eight), scale).store(out + at);
      mul(sub(F32::load_high_nibbles(codes + at / 2), eight), scale).store(out + at + 16);
    }
}

}  // namespace nibble::lanes
