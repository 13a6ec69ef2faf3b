// SPDX-License-Identifier: Apache-2.0
//
// Sixteen bytes that hold thirty-two 4-bit codes as ggml's 32-element types do: code j in the low half of byte j, code
// j + 16 in the high half; and the four bytes in which the 5-bit types keep bit 4 of each code.
#pragma once

#include <cstdint>
#include <cstring>

namespace nibble {

template <class T>
[[gnu::always_inline]] inline void pack_nibbles(const T* codes, std::uint8_t* qs) {
  for (int j = 0; j < 16; ++j) qs[j] = static_cast<std::uint8_t>((codes[j] & 15u) | ((codes[j + 16] & 15u) << 4));
}

template <class T>
[[gnu::always_inline]] inline void unpack_nibbles(const std::uint8_t* qs, T* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = qs[j] & 15u;
    codes[j + 16] = static_cast<T>(qs[j] >> 4);
  }
}

template <class T>
[[gnu::always_inline]] inline void pack_fifth_bits(const T* codes, std::uint8_t* qh) {
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; ++j) bits |= std::uint32_t{(codes[j] >> 4) & 1u} << j;
  std::memcpy(qh, &bits, 4);
}

template <class T>
[[gnu::always_inline]] inline void unpack_fifth_bits(const std::uint8_t* qh, T* codes) {
  std::uint32_t bits;
  std::memcpy(&bits, qh, 4);
  for (int j = 0; j < 32; ++j) codes[j] = static_cast<T>(codes[j] | (((bits >> j) & 1u) << 4));
}

}  // namespace nibble
