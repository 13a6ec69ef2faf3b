// SPDX-License-Identifier: Apache-2.0
//
// Units of several columns decoded sixteen rows and four octets at a time, where the processor has AVX512_VBMI: one instruction looks 64 bytes
// up in a table of 128.
#include <immintrin.h>

#include "kernels/avx512/parts.h"

namespace nibble::avx512 {
namespace {

[[gnu::always_inline]] inline __m512i load(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
[[gnu::always_inline]] inline void store(std::uint8_t* p, __m512i x) { _mm512_storeu_si512(p, x); }
[[gnu::always_inline]] inline __m512i bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
// Bits of a where the mask has ones, of b elsewhere.
[[gnu::always_inline]] inline __m512i select(__m512i mask, __m512i a, __m512i b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xca); }

// 64 rows at once: four vectors of sixteen rows, four octets each.
struct Vectors {
  __m512i v[4];
};

// Up to four parts of 128 bytes: all of them, the right one picked by the bits of `number`.
template <int kBits>
[[gnu::always_inline]] inline __m512i look_up_small(const std::uint8_t* table, __m512i index, __mmask64 bit0, __mmask64 bit1) {
  __m512i part[4];
#pragma GCC unroll 4
  for (int i = 0; i < 1 << (kBits - 7); ++i) part[i] = _mm512_permutex2var_epi8(load(table + 128 * i), index, load(table + 128 * i + 64));
  const __m512i lower = _mm512_mask_blend_epi8(bit0, part[0], part[1]);
  if constexpr (kBits == 8) return lower;
  return _mm512_mask_blend_epi8(bit1, lower, _mm512_mask_blend_epi8(bit0, part[2], part[3]));
}

// Two bytes for each index. number: the index from bit 7 on. Large tables are walked over: lanes are replaced when the walk comes to their part,
// and hold the index until then.
template <int kBits>
[[gnu::always_inline]] inline void look_up(const std::uint8_t* tables, const Vectors& index, const Vectors& number, Vectors& a, Vectors& b) {
  if constexpr (kBits <= 9) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __mmask64 bit0 = _mm512_movepi8_mask(index.v[v]), bit1 = _mm512_test_epi8_mask(number.v[v], bytes(2));
      a.v[v] = look_up_small<kBits>(tables, index.v[v], bit0, bit1);
      b.v[v] = look_up_small<kBits>(tables + (1 << kBits), index.v[v], bit0, bit1);
    }
    return;
  }
  a = b = index;
  for (int part = 0; part < 1 << (kBits - 7); ++part) {
    const std::uint8_t *first = tables + part * 128, *second = first + (1 << kBits);
    const __m512i a0 = load(first), a1 = load(first + 64), b0 = load(second), b1 = load(second + 64), here = bytes(part);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __mmask64 lanes = _mm512_cmpeq_epi8_mask(number.v[v], here);
      a.v[v] = _mm512_mask2_permutex2var_epi8(a0, a.v[v], lanes, a1);
      b.v[v] = _mm512_mask2_permutex2var_epi8(b0, b.v[v], lanes, b1);
    }
  }
}

[[gnu::always_inline]] inline __m512i with_parity(__m512i signs) {
  signs = _mm512_and_si512(signs, bytes(127));
  __m512i folded = _mm512_xor_si512(signs, _mm512_slli_epi16(signs, 4));  // bit 7: bits 3 and 7, and so on
  folded = _mm512_xor_si512(folded, _mm512_slli_epi16(folded, 2));
  folded = _mm512_xor_si512(folded, _mm512_slli_epi16(folded, 1));
  return select(bytes(-128), folded, signs);
}

// Levels of four columns in a byte, to the nibbles of two lines.
[[gnu::always_inline]] inline void spread_levels(__m512i levels, __m512i* lines) {
  const __m512i low = bytes(3), both = bytes(0x33);
  lines[0] = _mm512_and_si512(select(low, levels, _mm512_slli_epi16(levels, 2)), both);
  lines[1] = _mm512_and_si512(select(low, _mm512_srli_epi16(levels, 4), _mm512_srli_epi16(levels, 2)), both);
}

template <int kColumns, int kIndexBits, int kHighBits, UnitSigns kSigns, SpareBit kSpare>
struct Decoder {
  const UnitShape& u;
  const std::uint8_t* block;
  std::size_t group;

  static constexpr std::size_t kRuns = 8 / kColumns;
  static constexpr bool kHasSigns = kSigns == UnitSigns::eight || kSigns == UnitSigns::seven;

  // One unit of each of octets 4 * four ...; run: of units.
  [[gnu::always_inline]] void look_up_run(std::size_t run, const Vectors& stored, Vectors& spare, Vectors& a, Vectors& b) const {
    Vectors index, number;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < 4; ++v) {
      index.v[v] = load(block + run * 256 + 64 * v);
      number.v[v] = _mm512_and_si512(_mm512_srli_epi16(index.v[v], 7), bytes(1));
      if constexpr (kHighBits != 0) {
        constexpr std::size_t kPerLine = 8 / kHighBits;
        const __m128i shift = _mm_cvtsi64_si128(static_cast<long long>(run % kPerLine * kHighBits));
        const __m512i high = _mm512_srl_epi16(load(block + high_offset(u) + run / kPerLine * 256 + 64 * v), shift);
        if constexpr (!kHasSigns) spare.v[v] = _mm512_and_si512(_mm512_srli_epi16(high, 3), bytes(1));
        number.v[v] = add_high(number.v[v], high);
      } else if constexpr (kIndexBits == 9) {
        number.v[v] = add_high(number.v[v], _mm512_srli_epi16(stored.v[v], 7));
      }
    }
    look_up<kIndexBits>(u.tables, index, number, a, b);
  }
  // The lowest bits of `high`, from bit 1 on.
  [[gnu::always_inline]] static __m512i add_high(__m512i number, __m512i high) {
    constexpr int kAddMasked = 0xf8;  // a | (b & c)
    return _mm512_ternarylogic_epi32(number, _mm512_slli_epi16(high, 1), bytes(((1 << (kIndexBits - 8)) - 1) << 1), kAddMasked);
  }

  // Octets 4 * four ... of all rows. Returns the spare bits, in the lowest bit of each byte.
  [[gnu::always_inline]] Vectors decode(std::size_t four, __m512i (&lines)[4][4]) const {
    Vectors stored, spare, a, b;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < 4; ++v) {
      stored.v[v] = kHasSigns ? load(block + signs_offset(u) + four * 256 + 64 * v) : _mm512_setzero_si512();
      spare.v[v] = _mm512_and_si512(_mm512_srli_epi16(stored.v[v], 7), bytes(1));
    }
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kRuns; ++r) {
      look_up_run(four * kRuns + r, stored, spare, a, b);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        if constexpr (kColumns == 8) {
          spread_levels(a.v[v], lines[v]);
          spread_levels(b.v[v], lines[v] + 2);
        } else {
          lines[v][2 * r] = a.v[v];
          lines[v][2 * r + 1] = b.v[v];
        }
      }
    }
#pragma GCC unroll 4
    for (std::size_t v = 0; v < 4; ++v) add_signs(stored.v[v], spare.v[v], lines[v]);
    return spare;
  }

  [[gnu::always_inline]] static void add_signs(__m512i stored, __m512i spare, __m512i (&lines)[4]) {
    constexpr int kAddMasked = 0xf8;  // a | (b & c)
    const __m512i tops = bytes(-120);
    if constexpr (kSigns == UnitSigns::of_unit || kSigns == UnitSigns::of_group) {
      const __mmask64 unit = _mm512_test_epi8_mask(spare, kSigns == UnitSigns::of_unit ? bytes(1) : _mm512_set1_epi32(1 << 24));
      const __mmask16 rows = _mm512_test_epi32_mask(spare, _mm512_set1_epi32(1 << 24));
      const __m512i add = kSigns == UnitSigns::of_unit ? _mm512_maskz_mov_epi8(unit, tops) : _mm512_maskz_mov_epi32(rows, tops);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) lines[k] = _mm512_or_si512(lines[k], add);
    } else {
      const __m512i signs = kSigns == UnitSigns::seven ? with_parity(stored) : stored;
#pragma GCC unroll 4
      for (unsigned k = 0; k < 4; ++k) lines[k] = _mm512_ternarylogic_epi32(lines[k], _mm512_slli_epi16(signs, 3 - k), tops, kAddMasked);
    }
  }

  // The group's scale from the spare bits of its four octets, as 2 s + 1 in the lowest byte of each row.
  [[gnu::always_inline]] static __m512i scale_of(__m512i spare) {
    const int weights = kSigns == UnitSigns::of_group ? 0x00080402 : 0x10080402;  // 2 4 8 16; the shift's bit counts for nothing
    return _mm512_dpbusd_epi32(_mm512_set1_epi32(1), spare, _mm512_set1_epi32(weights));
  }

  [[gnu::always_inline]] void store_lines(const __m512i (&lines)[4], std::uint8_t* out) const {
    if (group == 32) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) store(out + k * 256, lines[k]);
      return;
    }
    // Octets 0 and 1 of two lines make a line, and octets 2 and 3.
    const __mmask32 odd_words = 0xaaaaaaaa;
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      store(out + j * 256, _mm512_mask_blend_epi16(odd_words, lines[2 * j], _mm512_slli_epi32(lines[2 * j + 1], 16)));
      store(out + (j + 2) * 256, _mm512_mask_blend_epi16(odd_words, _mm512_srli_epi32(lines[2 * j], 16), lines[2 * j + 1]));
    }
  }

  void run(std::uint8_t* out) const {
    const std::size_t bytes_ahead = unit_block_bytes(u, group);
    for (std::size_t i = 0; i < bytes_ahead; i += 64) __builtin_prefetch(block + bytes_ahead + i, 0, 2);
    std::uint8_t *const scales = out + 128, *const codes = scales + kBlockDepth / group * 64;
    Vectors scale{};
    for (std::size_t four = 0; four < kOctets / 4; ++four) {
      __m512i lines[4][4];
      const Vectors spare = decode(four, lines);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        store_lines(lines[v], codes + four * 1024 + 64 * v);
        if constexpr (kSpare == SpareBit::scale || kSigns == UnitSigns::of_group) {
          scale.v[v] = _mm512_or_si512(_mm512_srli_epi32(scale.v[v], 8), _mm512_slli_epi32(scale_of(spare.v[v]), 24));
          if (four % 4 == 3) store(scales + four / 4 * 256 + 64 * v, scale.v[v]);
        }
      }
    }
    __builtin_memcpy(out, block + unit_super_offset(u), 128);
    if constexpr (kSpare != SpareBit::scale && kSigns != UnitSigns::of_group) spread_scales(scales);
  }

  void spread_scales(std::uint8_t* scales) const {
    const std::uint8_t* const plane = block + unit_scales_offset(u);
    const __m512i mask = bytes(0x1e), one = bytes(1);
    for (std::size_t i = 0; i < kBlockDepth / group * 32; i += 64) {
      const __m512i line = load(plane + i);
      std::uint8_t* const to = scales + i / 256 * 512 + i % 256;
      store(to, _mm512_ternarylogic_epi32(one, _mm512_slli_epi16(line, 1), mask, 0xf8));
      store(to + 256, _mm512_ternarylogic_epi32(one, _mm512_srli_epi16(line, 3), mask, 0xf8));
    }
  }
};

// The kinds of unit_form.cpp.
void expand_units(const UnitShape& u, std::size_t group, const std::uint8_t* block, std::uint8_t* out) {
  if (u.columns == 4) {
    if (u.index_bits == 8) return Decoder<4, 8, 0, UnitSigns::seven, SpareBit::scale>{u, block, group}.run(out);
    return Decoder<4, 9, 1, UnitSigns::eight, SpareBit::none>{u, block, group}.run(out);
  }
  switch (u.index_bits) {
    case 8:
      return Decoder<8, 8, 0, UnitSigns::seven, SpareBit::scale>{u, block, group}.run(out);
    case 9:
      return Decoder<8, 9, 0, UnitSigns::seven, SpareBit::index>{u, block, group}.run(out);
    case 10:
      return Decoder<8, 10, 2, UnitSigns::eight, SpareBit::none>{u, block, group}.run(out);
    default:
      break;
  }
  if (u.signs == UnitSigns::of_group) return Decoder<8, 11, 4, UnitSigns::of_group, SpareBit::none>{u, block, group}.run(out);
  return Decoder<8, 11, 4, UnitSigns::of_unit, SpareBit::none>{u, block, group}.run(out);
}

}  // namespace

void fill_units(KernelTable& table) { table.expand_units = expand_units; }

}  // namespace nibble::avx512
