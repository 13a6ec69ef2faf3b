// SPDX-License-Identifier: Apache-2.0
//
// Units of several columns sixteen rows and four octets at a time, where the processor has AVX512_VBMI and GFNI: one
// instruction looks 64 bytes up in a table of 128, one moves the bits of 64 bytes wherever they should go.
#include <immintrin.h>

#include "kernels/avx512/parts.h"

namespace nibble::avx512 {
namespace {

[[gnu::always_inline]] inline __m512i load(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
[[gnu::always_inline]] inline void store(std::uint8_t* p, __m512i x) { _mm512_storeu_si512(p, x); }
[[gnu::always_inline]] inline __m512i bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }

// Which bits of a byte make up each bit of the result: the exclusive or of those in sources[i] is bit i.
struct BitMap {
  std::uint8_t sources[8] = {};
  constexpr std::uint64_t bits() const {
    std::uint64_t result = 0;
    for (int i = 0; i < 8; ++i) result |= std::uint64_t{sources[i]} << (8 * (7 - i));
    return result;
  }
};
[[gnu::always_inline]] inline __m512i move_bits(__m512i x, std::uint64_t map) {
  return _mm512_gf2p8affine_epi64_epi8(x, _mm512_set1_epi64(static_cast<long long>(map)), 0);
}

// 64 rows at once: four vectors of sixteen rows, four octets each.
struct Vectors {
  __m512i v[4];
};

// Two bytes for each index. number: the index from bit 7 on. The tables are walked over: lanes are replaced when the
// walk comes to their part, and hold the index until then.
template <int kBits>
[[gnu::always_inline]] inline void look_up(const std::uint8_t* tables, const Vectors& index, const Vectors& number,
                                           Vectors& a, Vectors& b) {
  a = b = index;
#pragma GCC unroll 4
  for (int part = 0; part < 1 << (kBits - 7); ++part) {
    const std::uint8_t *first = tables + part * 128, *second = first + (1 << kBits);
    const __m512i a0 = load(first), a1 = load(first + 64), b0 = load(second), b1 = load(second + 64),
                  here = bytes(part);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __mmask64 lanes = kBits == 8
                                  ? (part == 0 ? ~_mm512_movepi8_mask(index.v[v]) : _mm512_movepi8_mask(index.v[v]))
                                  : _mm512_cmpeq_epi8_mask(number.v[v], here);
      a.v[v] = _mm512_mask2_permutex2var_epi8(a0, a.v[v], lanes, a1);
      b.v[v] = _mm512_mask2_permutex2var_epi8(b0, b.v[v], lanes, b1);
    }
  }
}

// A group's scale by the byte of its rows' lanes, as the highest byte of each lane.
alignas(64) constexpr std::uint8_t kHighestByte[4][16] = {
    {128, 128, 128, 0, 128, 128, 128, 4, 128, 128, 128, 8, 128, 128, 128, 12},
    {128, 128, 128, 1, 128, 128, 128, 5, 128, 128, 128, 9, 128, 128, 128, 13},
    {128, 128, 128, 2, 128, 128, 128, 6, 128, 128, 128, 10, 128, 128, 128, 14},
    {128, 128, 128, 3, 128, 128, 128, 7, 128, 128, 128, 11, 128, 128, 128, 15}};

template <int kColumns, int kIndexBits, int kHighBits, UnitSigns kSigns, SpareBit kSpare, std::size_t kGroup>
struct Decoder {
  const UnitShape& u;
  const std::uint8_t* block;

  static constexpr std::size_t kRuns = 8 / kColumns;
  static constexpr bool kHasSigns = has_signs(kSigns);
  static constexpr bool kScaleInSpare = !has_scale_plane(kSigns, kSpare);

  // What four octets of all rows are named by, looked up.
  struct Four {
    Vectors signs;  // stored; or the spare bits of the high plane, in the lowest bit of each byte
    Vectors a[kRuns], b[kRuns];
  };

  // The bits of the indices from 7 up, of one unit of each octet; run: of units.
  [[gnu::always_inline]] Vectors number_of(std::size_t run, const Vectors& index, Four& four) const {
    Vectors number = index;
    if constexpr (kIndexBits == 8) return number;
    constexpr std::uint64_t kLowest = BitMap{{128}}.bits();
    constexpr std::uint64_t kHigher = kIndexBits == 11   ? BitMap{{0, 1, 2, 4}}.bits()
                                      : kIndexBits == 10 ? BitMap{{0, 1, 2}}.bits()
                                                         : BitMap{{0, kHighBits == 0 ? 128 : 1}}.bits();
    constexpr std::size_t kPerLine = kHighBits == 0 ? 1 : 8 / kHighBits;
    const std::size_t shift = run % kPerLine * kHighBits;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < 4; ++v) {
      const __m512i high =
          kHighBits == 0 ? four.signs.v[v] : load(block + high_offset(u) + run / kPerLine * 256 + 64 * v);
      number.v[v] = _mm512_or_si512(move_bits(index.v[v], kLowest), move_bits(high, kHigher << shift));
      if constexpr (!kHasSigns) four.signs.v[v] = move_bits(high, BitMap{{8}}.bits() << shift);
    }
    return number;
  }

  [[gnu::always_inline]] void find(std::size_t four, Four& found) const {
    if constexpr (kHasSigns) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) found.signs.v[v] = load(block + signs_offset(u) + four * 256 + 64 * v);
    }
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kRuns; ++r) {
      const std::size_t run = four * kRuns + r;
      Vectors index;
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) index.v[v] = load(block + run * 256 + 64 * v);
      look_up<kIndexBits>(u.tables, index, number_of(run, index, found), found.a[r], found.b[r]);
    }
  }

  // Bits of a line: those of one column from bit 0 on, of the other from bit kPitch on, the highest of each being its
  // sign.
  template <int kPitch>
  static constexpr std::uint64_t levels_map(int from) {
    BitMap map;
    for (int i = 0; i < 2; ++i) {
      map.sources[i] = static_cast<std::uint8_t>(1 << (from + i));
      map.sources[kPitch + i] = static_cast<std::uint8_t>(1 << (from + 2 + i));
    }
    return map.bits();
  }
  template <int kPitch>
  static constexpr std::uint64_t signs_map(int line) {
    BitMap map;
    const bool is_parity = kSigns == UnitSigns::seven && line == 3;
    map.sources[kPitch - 1] = static_cast<std::uint8_t>(kHasSigns ? 1 << line : 1);
    map.sources[2 * kPitch - 1] = static_cast<std::uint8_t>(!kHasSigns ? 1 : is_parity ? 127 : 1 << (line + 4));
    return map.bits();
  }

  // The four lines of 16 rows (unit_shape.h), each of two columns of four octets.
  template <int kPitch>
  [[gnu::always_inline]] static void make_lines(const Four& found, std::size_t v, __m512i (&lines)[4]) {
    if constexpr (kColumns == 8) {
      lines[0] = move_bits(found.a[0].v[v], levels_map<kPitch>(0));
      lines[1] = move_bits(found.a[0].v[v], levels_map<kPitch>(4));
      lines[2] = move_bits(found.b[0].v[v], levels_map<kPitch>(0));
      lines[3] = move_bits(found.b[0].v[v], levels_map<kPitch>(4));
    } else {
      static_assert(kPitch == 4);
#pragma GCC unroll 2
      for (std::size_t r = 0; r < kRuns; ++r) {
        lines[2 * r] = found.a[r].v[v];
        lines[2 * r + 1] = found.b[r].v[v];
      }
    }
    if constexpr (kHasSigns) {
      lines[0] = _mm512_or_si512(lines[0], move_bits(found.signs.v[v], signs_map<kPitch>(0)));
      lines[1] = _mm512_or_si512(lines[1], move_bits(found.signs.v[v], signs_map<kPitch>(1)));
      lines[2] = _mm512_or_si512(lines[2], move_bits(found.signs.v[v], signs_map<kPitch>(2)));
      lines[3] = _mm512_or_si512(lines[3], move_bits(found.signs.v[v], signs_map<kPitch>(3)));
    } else {
      const __m512i last = _mm512_set4_epi32(0x0f0f0f0f, 0x0b0b0b0b, 0x07070707, 0x03030303);
      const __m512i shifts =
          kSigns == UnitSigns::of_group ? _mm512_shuffle_epi8(found.signs.v[v], last) : found.signs.v[v];
      const __m512i spread = move_bits(shifts, signs_map<kPitch>(0));
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) lines[k] = _mm512_or_si512(lines[k], spread);
    }
    if constexpr (kGroup ==
                  16) {  // octets 0 and 1 of two lines make a line, and octets 2 and 3, those of the second line first
      const __mmask32 odd_words = 0xaaaaaaaa;
      __m512i first[2], second[2];
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m512i turned = _mm512_rol_epi32(lines[2 * j + 1], 16);
        first[j] = _mm512_mask_blend_epi16(odd_words, lines[2 * j], turned);
        second[j] = _mm512_mask_blend_epi16(odd_words, turned, lines[2 * j]);
      }
      lines[0] = first[0];
      lines[1] = first[1];
      lines[2] = second[0];
      lines[3] = second[1];
    }
  }

  // The group's scale from the spare bits of its four octets, as 2 s + 1 in the lowest byte of each row.
  [[gnu::always_inline]] static __m512i scale_of(const Four& found, std::size_t v) {
    const int weights =
        kSigns == UnitSigns::of_group ? 0x00080402 : 0x10080402;  // 2 4 8 16; the shift's bit counts for nothing
    const __m512i spare = kHasSigns ? move_bits(found.signs.v[v], BitMap{{128}}.bits()) : found.signs.v[v];
    return _mm512_dpbusd_epi32(_mm512_set1_epi32(1), spare, _mm512_set1_epi32(weights));
  }

  void expand(std::uint8_t* out) const {
    std::uint8_t *const scales = out + 128, *const codes = scales + kBlockDepth / kGroup * 64;
    Vectors scale{};
    for (std::size_t four = 0; four < kOctets / 4; ++four) {
      Four found;
      find(four, found);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        __m512i lines[4];
        make_lines<4>(found, v, lines);
#pragma GCC unroll 4
        for (std::size_t k = 0; k < 4; ++k) store(codes + four * 1024 + k * 256 + 64 * v, lines[k]);
        if constexpr (kScaleInSpare) {
          scale.v[v] = _mm512_or_si512(_mm512_srli_epi32(scale.v[v], 8), _mm512_slli_epi32(scale_of(found, v), 24));
          if (four % 4 == 3) store(scales + four / 4 * 256 + 64 * v, scale.v[v]);
        }
      }
    }
    __builtin_memcpy(out, block + unit_super_offset(u), 128);
    if constexpr (!kScaleInSpare) spread_scales(scales);
  }

  // Those of 3 bits. 0xf8: a | (b & c).
  void spread_short_scales(std::uint8_t* scales) const {
    const std::uint8_t* const plane = block + unit_scales_offset(u);
    const __m512i mask = bytes(0x0e), one = bytes(1);
    for (std::size_t i = 0; i < 256; i += 64) {
      const __m512i line = load(plane + i), pairs = load(plane + 256 + i % 128),
                    rest = i < 128 ? pairs : _mm512_srli_epi16(pairs, 4);
      const __m512i lower = _mm512_ternarylogic_epi32(one, _mm512_srli_epi16(line, 5), bytes(6), 0xf8);
      store(scales + i, _mm512_ternarylogic_epi32(one, _mm512_slli_epi16(line, 1), mask, 0xf8));
      store(scales + 256 + i, _mm512_ternarylogic_epi32(one, _mm512_srli_epi16(line, 2), mask, 0xf8));
      store(scales + 512 + i, _mm512_ternarylogic_epi32(lower, rest, bytes(8), 0xf8));
      store(scales + 768 + i, _mm512_ternarylogic_epi32(one, _mm512_slli_epi16(rest, 1), mask, 0xf8));
    }
  }

  void spread_scales(std::uint8_t* scales) const {
    if constexpr (kSigns == UnitSigns::of_unit) return spread_short_scales(scales);
    const std::uint8_t* const plane = block + unit_scales_offset(u);
    const __m512i mask = bytes(0x1e), one = bytes(1);
    for (std::size_t i = 0; i < kBlockDepth / kGroup * 32; i += 64) {
      const __m512i line = load(plane + i);
      std::uint8_t* const to = scales + i / 256 * 512 + i % 256;
      store(to, _mm512_ternarylogic_epi32(one, _mm512_slli_epi16(line, 1), mask, 0xf8));
      store(to + 256, _mm512_ternarylogic_epi32(one, _mm512_srli_epi16(line, 3), mask, 0xf8));
    }
  }
};

// --- a single token --------------------------------------------------------------------------------------------------

// Operands by the bits of a line. VPERMB takes no notice of an index's upper two bits, so that lines need no masking.
struct Operands {
  __m512i low, high;

  template <int kPitch>
  static Operands of(const IntegerShape& shape) {
    alignas(64) std::uint8_t low_codes[64], high_codes[64];
    for (unsigned i = 0; i < 64; ++i) {
      low_codes[i] = static_cast<std::uint8_t>(kPitch == 3 ? (i & 3u) | (i & 4u) << 1 : i & 15u);
      high_codes[i] = static_cast<std::uint8_t>(kPitch == 3 ? (i >> 3 & 3u) | (i >> 2 & 8u) : i & 15u);
    }
    const __m512i points = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(shape.points)));
    return {_mm512_shuffle_epi8(points, load(low_codes)), _mm512_shuffle_epi8(points, load(high_codes))};
  }
  [[gnu::always_inline]] __m512i of_low(__m512i line) const { return _mm512_permutexvar_epi8(line, low); }
  template <int kPitch>
  [[gnu::always_inline]] __m512i of_high(__m512i line) const {
    return _mm512_permutexvar_epi8(kPitch == 3 ? line : _mm512_srli_epi16(line, 4), high);
  }
};

// Adds the products of 16 x 4 operands and four activations.
[[gnu::always_inline]] inline void add_dots(__m512i& sums, __m512i operands, const std::int8_t* x) {
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(operands), "m"(*reinterpret_cast<const std::int32_t*>(x)));
}

// Adds the products of one group of 16 rows' lines, or of two, with the codes of 32 columns.
template <int kPitch, std::size_t kGroup>
[[gnu::always_inline]] inline void add_line_dots(const Operands& operands, const __m512i (&lines)[4],
                                                 const std::int8_t* codes, __m512i (&sums)[2]) {
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    __m512i& sum = sums[kGroup == 16 ? k / 2 : k % 2];
    add_dots(sum, operands.of_low(lines[k]), codes + 8 * k);
    add_dots(sum, operands.template of_high<kPitch>(lines[k]), codes + 8 * k + 4);
  }
}

// The arithmetic of integer_product.h.
template <class D, int kPitch, std::size_t kGroup>
[[gnu::noinline]] void vector_of_units(const UnitShape& u, const IntegerShape& shape, const std::uint8_t* panel,
                                       std::size_t num_blocks, const QuantizedActivations& x, float* y,
                                       int accumulate) {
  const Operands operands = Operands::template of<kPitch>(shape);
  const __m512 factor = _mm512_set1_ps(shape.factor * 0x1p-24f);  // scales are taken 2^24 times too large
  const std::size_t block_size = unit_block_bytes(u, kGroup), ahead = (block_size / 64 + 7) / 8;
  const std::size_t fours = kOctets / 4 / x.runs;  // of a run
  __m512 total[4], running[4] = {};
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) total[v] = accumulate != 0 ? _mm512_loadu_ps(y + 16 * v) : _mm512_setzero_ps();
  alignas(64) std::uint8_t scales[kMaxGroups * 64];
  for (std::size_t b = 0; b < num_blocks; ++b, panel += block_size) {
    const D decoder{u, panel};
    const std::int8_t *codes = x.codes + b * kBlockDepth, *wide_codes = x.wide + b * kBlockDepth;
    const std::int32_t* biases = x.biases + b * kMaxGroups;
    std::uint64_t wide = x.wide_quads[b];
    if constexpr (!D::kScaleInSpare) decoder.spread_scales(scales);
    for (std::size_t four = 0; four < kOctets / 4;
         ++four, codes += 32, wide_codes += 32, wide >>= 8, biases += 32 / kGroup) {
      // A block's planes are read side by side, which no processor foresees: the next block is asked for in order while
      // this one is worked on.
      for (std::size_t line = 0; line < ahead; ++line)
        __builtin_prefetch(panel + block_size + (four * ahead + line) * 64);
      typename D::Four found;
      decoder.find(four, found);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        __m512i lines[4], sums[2] = {_mm512_set1_epi32(biases[0]),
                                     kGroup == 16 ? _mm512_set1_epi32(biases[1]) : _mm512_setzero_si512()};
        D::template make_lines<kPitch>(found, v, lines);
        if ((wide & 255) != 0) [[unlikely]] {
          __m512i high[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
          add_line_dots<kPitch, kGroup>(operands, lines, wide_codes, high);
#pragma GCC unroll 2
          for (int i = 0; i < 2; ++i) sums[i] = _mm512_add_epi32(sums[i], _mm512_slli_epi32(high[i], kWideShift));
        }
        add_line_dots<kPitch, kGroup>(operands, lines, codes, sums);
        if constexpr (kGroup == 32) sums[0] = _mm512_add_epi32(sums[0], sums[1]);
#pragma GCC unroll 2
        for (std::size_t g = 0; g < 32 / kGroup; ++g) {
          const std::size_t group = four * (32 / kGroup) + g;
          __m512i scale;
          if constexpr (D::kScaleInSpare) {
            scale = _mm512_slli_epi32(D::scale_of(found, v), 24);
          } else {
            const __m512i order =
                _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(kHighestByte[group % 4])));
            scale = _mm512_shuffle_epi8(load(scales + group / 4 * 256 + 64 * v), order);
          }
          const __m512 value = _mm512_cvtepi32_ps(sums[g]), multiple = _mm512_cvtepi32_ps(scale);
          running[v] = g == 0 && four % fours == 0 ? _mm512_mul_ps(value, multiple)
                                                   : _mm512_fmadd_ps(value, multiple, running[v]);
        }
      }
      if ((four + 1) % fours != 0) continue;
      const __m512 x_scale = _mm512_set1_ps(x.scales[b * x.runs + four / fours]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        const __m512 super = _mm512_cvtph_ps(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + unit_super_offset(u) + 32 * v)));
        total[v] = _mm512_fmadd_ps(_mm512_mul_ps(running[v], _mm512_mul_ps(super, factor)), x_scale, total[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) _mm512_storeu_ps(y + 16 * v, total[v]);
}

// The kinds of unit_form.cpp: take.template operator()<Decoder of the kind, pitch of its lines, group>().
template <class Take>
void with_kind(const UnitShape& u, Take&& take) {
  if (u.columns == 4) {
    if (u.index_bits == 8)
      return take.template operator()<Decoder<4, 8, 0, UnitSigns::seven, SpareBit::scale, 32>, 4, 32>();
    return take.template operator()<Decoder<4, 9, 1, UnitSigns::eight, SpareBit::none, 32>, 4, 32>();
  }
  switch (u.index_bits) {
    case 8:
      return take.template operator()<Decoder<8, 8, 0, UnitSigns::seven, SpareBit::scale, 32>, 3, 32>();
    case 9:
      return take.template operator()<Decoder<8, 9, 0, UnitSigns::seven, SpareBit::index, 16>, 3, 16>();
    case 10:
      return take.template operator()<Decoder<8, 10, 2, UnitSigns::eight, SpareBit::none, 16>, 3, 16>();
    default:
      break;
  }
  if (u.signs == UnitSigns::of_group)
    return take.template operator()<Decoder<8, 11, 4, UnitSigns::of_group, SpareBit::none, 32>, 3, 32>();
  return take.template operator()<Decoder<8, 11, 4, UnitSigns::of_unit, SpareBit::none, 16>, 3, 16>();
}

void expand_units(const UnitShape& u, std::size_t, const std::uint8_t* block, std::uint8_t* out) {
  with_kind(u, [&]<class D, int, std::size_t>() { D{u, block}.expand(out); });
}

void unit_vector(const UnitShape& u, const IntegerShape& shape, const std::uint8_t* panel, std::size_t num_blocks,
                 const QuantizedActivations& x, float* y, int accumulate) {
  with_kind(u, [&]<class D, int kPitch, std::size_t kGroup>() {
    vector_of_units<D, kPitch, kGroup>(u, shape, panel, num_blocks, x, y, accumulate);
  });
}

}  // namespace

void fill_units(KernelTable& table) {
  table.expand_units = expand_units;
  table.unit_vector = unit_vector;
}

}  // namespace nibble::avx512
