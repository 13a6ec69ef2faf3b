// SPDX-License-Identifier: Apache-2.0
//
// The shape of a trellis and of its tiles (trellis_format.h), as searches and products know them.
//
//   const TrellisShape shape{.state_bits = 12, .code_bits = 3};
//   tile_bytes(shape);                            // 96
//   tile_window(shape, tile, 255 * 3);            // the last symbol's state: 3 bits of the tile's end, 9 of its
//   beginning
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

inline constexpr std::size_t kTrellisRows = 64, kTrellisCols = 4;
inline constexpr std::size_t kTrellisTile = kTrellisRows * kTrellisCols;  // symbols

struct TrellisShape {
  unsigned state_bits = 8;
  unsigned code_bits = 2;  // of a symbol: 1 .. 6, less than state_bits

  std::size_t states() const noexcept { return std::size_t{1} << state_bits; }
  // Windows that differ in the bits of their first symbol only come from the same next one.
  std::size_t groups() const noexcept { return states() >> code_bits; }
};

// Static: files that are compiled for one instruction set have their own.
static constexpr std::size_t tile_bytes(const TrellisShape& shape) { return kTrellisTile / 8 * shape.code_bits; }

// The state at a bit of a tile's ring. Byte: std::byte or std::uint8_t.
template <class Byte>
static constexpr std::uint32_t tile_window(const TrellisShape& shape, const Byte* tile, std::size_t bit) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 3; ++i)
    word |= static_cast<std::uint32_t>(tile[(bit / 8 + i) % tile_bytes(shape)]) << (8 * i);
  return word >> (bit % 8) & ((1u << shape.state_bits) - 1);
}

}  // namespace nibble
