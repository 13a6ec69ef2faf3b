// SPDX-License-Identifier: Apache-2.0
//
// Tiles of trellises: with a table two symbols are looked up together, else eight rows are computed at once.
#include <immintrin.h>

#include "format/trellis/state_values.h"
#include "kernels/linear/trellis_kernels.h"

namespace nibble::avx2 {
namespace {

constexpr std::size_t kPastEnd = 16;  // bytes of the ring's beginning that stand behind its end, too

template <unsigned K>
void look_up_tile(const std::uint8_t* ring, const std::uint16_t* pairs, std::uint8_t* panel) {
  for (std::size_t i = 0; i < kTrellisTile / 8; ++i) {
    std::uint64_t bits;
    __builtin_memcpy(&bits, ring + i * K, sizeof(bits));
#pragma GCC unroll 4
    for (std::size_t pair = 0; pair < 4; ++pair)
      __builtin_memcpy(panel + 8 * i + 2 * pair, pairs + (bits >> (2 * K * pair) & ((256u << K) - 1)), 2);
  }
}

// Of four rows to a half: where the bytes of a column's states lie, and how far in them.
template <unsigned K>
struct Places {
  alignas(32) std::uint8_t bytes[4][32];
  alignas(32) std::uint32_t shifts[4][8];
  constexpr Places() : bytes(), shifts() {
    for (unsigned column = 0; column < 4; ++column)
      for (unsigned row = 0; row < 8; ++row) {
        const unsigned bit = K * (row % 4 * 4 + column);
        shifts[column][row] = bit % 8;
        for (unsigned i = 0; i < 4; ++i) bytes[column][4 * row + i] = static_cast<std::uint8_t>(bit / 8 + i);
      }
  }
};

template <unsigned K, unsigned L>
void compute_tile(const std::uint8_t* ring, std::uint8_t* panel) {
  static constexpr Places<K> places;
  const __m256i factor = _mm256_set1_epi32(static_cast<int>(kStateFactor)),
                mask = _mm256_set1_epi32(static_cast<int>(kStateMask)), state_mask = _mm256_set1_epi32((1 << L) - 1),
                ones = _mm256_set1_epi8(1), word_ones = _mm256_set1_epi16(1);
  for (std::size_t eight = 0; eight < 8; ++eight) {
    const std::uint8_t* const rows = ring + eight * 4 * K;
    const __m256i bits = _mm256_set_m128i(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + 2 * K)),
                                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows)));
    __m256i operands = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int column = 0; column < 4; ++column) {
      const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(places.bytes[column])),
                    shifts = _mm256_load_si256(reinterpret_cast<const __m256i*>(places.shifts[column]));
      const __m256i states = _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi8(bits, order), shifts), state_mask);
      const __m256i bytes = _mm256_and_si256(_mm256_mullo_epi32(states, factor), mask);
      const __m256i sums = _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, ones), word_ones);
      operands = _mm256_or_si256(operands, _mm256_slli_epi32(sums, 8 * column));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(panel + 32 * eight), operands);
  }
}

template <unsigned K>
void decode_tiles(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads, std::uint8_t* panel) {
  constexpr std::size_t kBytes = kTrellisTile / 8 * K;
  alignas(32) std::uint8_t ring[kBytes + kPastEnd];
  for (std::size_t q = 0; q < quads; ++q, tiles += kBytes, panel += kTrellisTile) {
    __builtin_memcpy(ring, tiles, kBytes);
    __builtin_memcpy(ring + kBytes, tiles, kPastEnd);
    if (operands.pairs != nullptr)
      look_up_tile<K>(ring, operands.pairs, panel);
    else if (operands.shape.state_bits == 12)
      compute_tile<K, 12>(ring, panel);
    else
      compute_tile<K, 16>(ring, panel);
  }
}

void decode(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads, std::uint8_t* panel) {
  switch (operands.shape.code_bits) {
    case 1:
      return decode_tiles<1>(operands, tiles, quads, panel);
    case 2:
      return decode_tiles<2>(operands, tiles, quads, panel);
    case 3:
      return decode_tiles<3>(operands, tiles, quads, panel);
    case 4:
      return decode_tiles<4>(operands, tiles, quads, panel);
    case 5:
      return decode_tiles<5>(operands, tiles, quads, panel);
    default:
      return decode_tiles<6>(operands, tiles, quads, panel);
  }
}

}  // namespace

const TrellisKernels kTrellisKernels = {"avx2", decode, nullptr};

}  // namespace nibble::avx2
