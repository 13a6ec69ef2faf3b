// SPDX-License-Identifier: Apache-2.0
//
// Units of several columns eight rows and four octets at a time. Each octet's four lines are one gathered word; four
// words are turned over to make lines of four octets. Serves AVX2 and AVX-VNNI.
#include <immintrin.h>

#include "kernels/avx2/parts.h"

namespace nibble::avx2 {
namespace {

[[gnu::always_inline]] inline __m256i load(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
[[gnu::always_inline]] inline void store(std::uint8_t* p, __m256i x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
}
[[gnu::always_inline]] inline __m256i bytes(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
[[gnu::always_inline]] inline __m256i both_halves(__m128i x) { return _mm256_broadcastsi128_si256(x); }

// Seven signs and the eighth, which makes the number of minus signs even.
[[gnu::always_inline]] inline __m256i with_parity(__m256i signs) {
  const __m256i odd =
                    both_halves(_mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0)),
                nibble = bytes(15);
  const __m256i seven = _mm256_and_si256(signs, bytes(127));
  const __m256i low = _mm256_shuffle_epi8(odd, _mm256_and_si256(seven, nibble));
  const __m256i high = _mm256_shuffle_epi8(odd, _mm256_and_si256(_mm256_srli_epi16(seven, 4), nibble));
  return _mm256_or_si256(seven, _mm256_xor_si256(low, high));
}

// Four words a row, of four bytes each, to words of the first bytes, of the second ones and so on.
[[gnu::always_inline]] inline void turn_over(__m256i (&words)[4]) {
  const __m256i odd_bytes = _mm256_set1_epi16(static_cast<short>(0xff00));
  __m256i even[2], odd[2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256i a = words[2 * i], b = words[2 * i + 1];
    even[i] = _mm256_blendv_epi8(a, _mm256_slli_epi16(b, 8), odd_bytes);
    odd[i] = _mm256_blendv_epi8(_mm256_srli_epi16(a, 8), b, odd_bytes);
  }
  words[0] = _mm256_blend_epi16(even[0], _mm256_slli_epi32(even[1], 16), 0xaa);
  words[1] = _mm256_blend_epi16(odd[0], _mm256_slli_epi32(odd[1], 16), 0xaa);
  words[2] = _mm256_blend_epi16(_mm256_srli_epi32(even[0], 16), even[1], 0xaa);
  words[3] = _mm256_blend_epi16(_mm256_srli_epi32(odd[0], 16), odd[1], 0xaa);
}

template <int kColumns, int kIndexBits, int kHighBits, UnitSigns kSigns, SpareBit kSpare, std::size_t kGroup>
struct Decoder {
  const UnitShape& u;
  const std::uint8_t* block;

  static constexpr std::size_t kRuns = 8 / kColumns;
  static constexpr bool kHasSigns = has_signs(kSigns);
  static constexpr bool kScaleInSpare = !has_scale_plane(kSigns, kSpare);

  // Bits of the high plane for one run of units, lowest in each byte. at: the first of eight rows, in bytes of a line.
  [[gnu::always_inline]] __m256i high_of(std::size_t run, std::size_t at) const {
    constexpr std::size_t kPerLine = 8 / kHighBits;
    const __m256i line = load(block + high_offset(u) + run / kPerLine * 256 + at);
    const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(run % kPerLine) * kHighBits);
    return _mm256_and_si256(_mm256_srl_epi16(line, shift), bytes((1 << kHighBits) - 1));
  }

  // What the four units of a run in each row stand for. high: their indices from bit 8 on, where they have more bits.
  [[gnu::always_inline]] void look_up(std::size_t run, std::size_t at, __m256i high, __m256i (&words)[4]) const {
    const __m256i low = load(block + run * 256 + at), byte = _mm256_set1_epi32(255);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      __m256i index = _mm256_and_si256(_mm256_srli_epi32(low, 8 * i), byte);
      if constexpr (kIndexBits > 8)
        index = _mm256_or_si256(index, _mm256_slli_epi32(_mm256_and_si256(_mm256_srli_epi32(high, 8 * i), byte), 8));
      words[i] = _mm256_i32gather_epi32(reinterpret_cast<const int*>(u.lines), index, 4);
    }
  }

  // Bits 3 and 7 of line k's bytes, all others 0, by the octets' signs; or the same bit for all of an octet's columns,
  // or of a row's.
  [[gnu::always_inline]] static __m256i signs_of_line(__m256i signs, int k) {
    if constexpr (!kHasSigns) return signs;
    return _mm256_and_si256(_mm256_slli_epi16(signs, 3 - k), bytes(0x88));
  }
  [[gnu::always_inline]] static __m256i spread(__m256i signs) {
    if constexpr (kSigns == UnitSigns::eight) return signs;
    if constexpr (kSigns == UnitSigns::seven) return with_parity(signs);
    const __m256i last = both_halves(_mm_setr_epi8(3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15));
    const __m256i own = kSigns == UnitSigns::of_group ? _mm256_shuffle_epi8(signs, last) : signs;
    return _mm256_or_si256(own, _mm256_slli_epi16(own, 4));
  }

  // Octets 0 and 1 of two lines make a line, and octets 2 and 3, those of the second line first.
  [[gnu::always_inline]] static void pair_octets(__m256i (&lines)[4]) {
    __m256i first[2], second[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256i line = lines[2 * j], next = lines[2 * j + 1];
      const __m256i turned = _mm256_or_si256(_mm256_slli_epi32(next, 16), _mm256_srli_epi32(next, 16));
      first[j] = _mm256_blend_epi16(line, turned, 0xaa);
      second[j] = _mm256_blend_epi16(turned, line, 0xaa);
    }
    lines[0] = first[0];
    lines[1] = first[1];
    lines[2] = second[0];
    lines[3] = second[1];
  }

  // The four lines of eight rows (unit_shape.h). Returns what holds the spare bits: bit 7 of each byte, or bit 3 where
  // there are no signs.
  [[gnu::always_inline]] __m256i make_lines(std::size_t four, std::size_t at, __m256i (&lines)[4]) const {
    __m256i signs = kHasSigns ? load(block + signs_offset(u) + four * 256 + at) : _mm256_setzero_si256();
    __m256i runs[kRuns][4];
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kRuns; ++r) {
      const std::size_t run = four * kRuns + r;
      __m256i high = _mm256_setzero_si256();
      if constexpr (kSpare == SpareBit::index) high = _mm256_and_si256(_mm256_srli_epi16(signs, 7), bytes(1));
      if constexpr (kHighBits != 0) high = high_of(run, at);
      if constexpr (!kHasSigns) {
        signs = _mm256_and_si256(high, bytes(8));
        high = _mm256_and_si256(high, bytes(7));
      }
      look_up(run, at, high, runs[r]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      lines[i] = kRuns == 1 ? runs[0][i] : _mm256_or_si256(runs[0][i], _mm256_slli_epi32(runs[kRuns - 1][i], 16));
    turn_over(lines);
    const __m256i all_signs = spread(signs);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) lines[k] = _mm256_or_si256(lines[k], signs_of_line(all_signs, k));
    if constexpr (kGroup == 16) pair_octets(lines);
    return signs;
  }

  // The group's scale from the spare bits of its four octets, as 2 s + 1 in the lowest byte of each row.
  [[gnu::always_inline]] static __m256i scale_of(__m256i signs) {
    const __m256i spare = _mm256_and_si256(_mm256_srli_epi16(signs, kHasSigns ? 7 : 3), bytes(1));
    const __m256i weights = _mm256_set1_epi32(
        kSigns == UnitSigns::of_group ? 0x00080402 : 0x10080402);  // the shift's bit counts for nothing
    const __m256i sum = _mm256_madd_epi16(_mm256_maddubs_epi16(spare, weights), _mm256_set1_epi16(1));
    return _mm256_or_si256(sum, _mm256_set1_epi32(1));
  }

  // Those of 3 bits.
  void spread_short_scales(std::uint8_t* scales) const {
    const std::uint8_t* const plane = block + unit_scales_offset(u);
    const __m256i mask = bytes(0x0e), one = bytes(1);
    for (std::size_t i = 0; i < 256; i += 32) {
      const __m256i line = load(plane + i), pairs = load(plane + 256 + i % 128),
                    rest = i < 128 ? pairs : _mm256_srli_epi16(pairs, 4);
      const __m256i lower = _mm256_and_si256(_mm256_srli_epi16(line, 5), bytes(6)),
                    upper = _mm256_and_si256(rest, bytes(8));
      store(scales + i, _mm256_or_si256(one, _mm256_and_si256(_mm256_slli_epi16(line, 1), mask)));
      store(scales + 256 + i, _mm256_or_si256(one, _mm256_and_si256(_mm256_srli_epi16(line, 2), mask)));
      store(scales + 512 + i, _mm256_or_si256(one, _mm256_or_si256(lower, upper)));
      store(scales + 768 + i, _mm256_or_si256(one, _mm256_and_si256(_mm256_slli_epi16(rest, 1), mask)));
    }
  }

  void spread_scales(std::uint8_t* scales) const {
    if constexpr (kSigns == UnitSigns::of_unit) return spread_short_scales(scales);
    const std::uint8_t* const plane = block + unit_scales_offset(u);
    const __m256i mask = bytes(0x1e), one = bytes(1);
    for (std::size_t i = 0; i < kBlockDepth / kGroup * 32; i += 32) {
      const __m256i line = load(plane + i);
      std::uint8_t* const to = scales + i / 256 * 512 + i % 256;
      store(to, _mm256_or_si256(one, _mm256_and_si256(_mm256_slli_epi16(line, 1), mask)));
      store(to + 256, _mm256_or_si256(one, _mm256_and_si256(_mm256_srli_epi16(line, 3), mask)));
    }
  }

  void expand(std::uint8_t* out) const {
    std::uint8_t *const scales = out + 128, *const codes = scales + kBlockDepth / kGroup * 64;
    __builtin_memcpy(out, block + unit_super_offset(u), 128);
    if constexpr (!kScaleInSpare) spread_scales(scales);
    for (std::size_t at = 0; at < 256; at += 32) {
      __m256i scale = _mm256_setzero_si256();
      for (std::size_t four = 0; four < kOctets / 4; ++four) {
        __m256i lines[4];
        const __m256i signs = make_lines(four, at, lines);
#pragma GCC unroll 4
        for (std::size_t k = 0; k < 4; ++k) store(codes + four * 1024 + k * 256 + at, lines[k]);
        if constexpr (kScaleInSpare) {
          scale = _mm256_or_si256(_mm256_srli_epi32(scale, 8), _mm256_slli_epi32(scale_of(signs), 24));
          if (four % 4 == 3) store(scales + four / 4 * 256 + at, scale);
        }
      }
    }
  }
};

// The shapes of unit_form.cpp.
void expand_units(const UnitShape& u, std::size_t group, const std::uint8_t* block, std::uint8_t* out) {
  if (u.columns == 4)
    u.index_bits == 8 ? Decoder<4, 8, 0, UnitSigns::seven, SpareBit::scale, 32>{u, block}.expand(out)
                      : Decoder<4, 9, 1, UnitSigns::eight, SpareBit::none, 32>{u, block}.expand(out);
  else if (u.index_bits == 8)
    Decoder<8, 8, 0, UnitSigns::seven, SpareBit::scale, 32>{u, block}.expand(out);
  else if (u.index_bits == 9)
    Decoder<8, 9, 0, UnitSigns::seven, SpareBit::index, 16>{u, block}.expand(out);
  else if (u.index_bits == 10)
    Decoder<8, 10, 2, UnitSigns::eight, SpareBit::none, 16>{u, block}.expand(out);
  else
    group == 32 ? Decoder<8, 11, 4, UnitSigns::of_group, SpareBit::none, 32>{u, block}.expand(out)
                : Decoder<8, 11, 4, UnitSigns::of_unit, SpareBit::none, 16>{u, block}.expand(out);
}

}  // namespace

void fill_units(KernelTable& table) { table.expand_units = expand_units; }

}  // namespace nibble::avx2
