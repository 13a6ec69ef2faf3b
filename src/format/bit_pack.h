// SPDX-License-Identifier: Apache-2.0
//
// Runs of 1- to 8-bit codes in bytes, least-significant bit first: code i occupies bits [first + i * bits, first + (i +
// 1) * bits) of the little-endian bit string. Only those bits are touched.
//
//   pack_bits(codes, 128, 4, 0, bytes);
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

template <class T>
void pack_bits(const T* codes, std::size_t count, unsigned bits, std::size_t first, std::byte* bytes) {
  std::size_t position = first;
  const auto put = [&](std::uint32_t code) {
    const std::size_t at = position / 8;
    const unsigned shift = position % 8;
    const std::uint32_t mask = ((1u << bits) - 1u) << shift;
    const std::uint32_t value = code << shift;
    bytes[at] = static_cast<std::byte>((std::to_integer<std::uint32_t>(bytes[at]) & ~mask) | value);
    if (shift + bits > 8)
      bytes[at + 1] =
          static_cast<std::byte>((std::to_integer<std::uint32_t>(bytes[at + 1]) & ~(mask >> 8)) | (value >> 8));
    position += bits;
  };
  for (; count > 0 && position % 8 != 0; --count) put(static_cast<std::uint32_t>(*codes++));
  // Eight codes fill `bits` whole bytes.
  for (; count >= 8; count -= 8, codes += 8, position += 8 * bits) {
    std::uint64_t word = 0;
    for (unsigned j = 0; j < 8; ++j) word |= std::uint64_t{codes[j]} << (j * bits);
    for (unsigned j = 0; j < bits; ++j) bytes[position / 8 + j] = static_cast<std::byte>(word >> (8 * j));
  }
  for (; count > 0; --count) put(static_cast<std::uint32_t>(*codes++));
}

template <class T>
void unpack_bits(const std::byte* bytes, std::size_t first, std::size_t count, unsigned bits, T* codes) {
  std::size_t position = first;
  const std::uint32_t mask = (1u << bits) - 1u;
  const auto get = [&] {
    const std::size_t at = position / 8;
    const unsigned shift = position % 8;
    std::uint32_t word = std::to_integer<std::uint32_t>(bytes[at]);
    if (shift + bits > 8) word |= std::to_integer<std::uint32_t>(bytes[at + 1]) << 8;
    position += bits;
    return static_cast<T>((word >> shift) & mask);
  };
  for (; count > 0 && position % 8 != 0; --count) *codes++ = get();
  for (; count >= 8; count -= 8, codes += 8, position += 8 * bits) {
    std::uint64_t word = 0;
    for (unsigned j = 0; j < bits; ++j) word |= std::to_integer<std::uint64_t>(bytes[position / 8 + j]) << (8 * j);
    for (unsigned j = 0; j < 8; ++j) codes[j] = static_cast<T>((word >> (j * bits)) & mask);
  }
  for (; count > 0; --count) *codes++ = get();
}

}  // namespace nibble
