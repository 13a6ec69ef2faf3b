// SPDX-License-Identifier: Apache-2.0
//
// Points of a lattice, those of eight rows at a time: the low bytes of their codes, with the last column's sign in
// place of the shift, are the mask of what is negative.
#include <immintrin.h>

#include "kernels/linear/lattice_octets.h"

namespace nibble::avx512 {
namespace {

constexpr std::size_t kRows = 64, kEights = kRows / 8;

// Of 32 rows, to signs: the low bytes whose bit 7 has become the parity of the bits below. Back: bits 7 as they were.
std::uint32_t part_low_bytes(const std::uint8_t* codes, std::uint64_t* signs) {
  const __m256i low = _mm512_cvtepi16_epi8(_mm512_loadu_si512(codes));
  const __m256i odd = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i seven = _mm256_and_si256(low, _mm256_set1_epi8(127));
  const __m256i parity =
      _mm256_xor_si256(_mm256_shuffle_epi8(odd, _mm256_and_si256(seven, nibble)),
                       _mm256_shuffle_epi8(odd, _mm256_and_si256(_mm256_srli_epi16(seven, 4), nibble)));
  _mm256_store_si256(reinterpret_cast<__m256i*>(signs), _mm256_or_si256(seven, parity));
  return static_cast<std::uint32_t>(_mm256_movepi8_mask(low));
}

// The codes of 64 rows and eight columns.
template <std::size_t kRefined>
class Octet {
 public:
  Octet(const OctetTables& tables, const std::uint8_t* codes)
      : tables_(tables),
        codes_(codes),
        shifts_{part_low_bytes(codes, signs_), part_low_bytes(codes + kRows, signs_ + 4)} {}

  // Operands of rows 8 * eight and behind: [8, 8].
  __m512i operands(std::size_t eight) const {
    const std::uint8_t* const high = codes_ + 16 * eight + 1;
    const __m512i point = words<2>(tables_.points, high);
    const __m512i reflection = _mm512_set1_epi8(2 * kLatticeMiddle);
    const auto is_below = static_cast<__mmask8>(shifts_[eight / 4] >> (8 * (eight % 4)));
    __m512i sum = _mm512_add_epi8(_mm512_mask_sub_epi8(point, signs_[eight], reflection, point),
                                  _mm512_mask_blend_epi64(is_below, _mm512_set1_epi8(1), _mm512_set1_epi8(-1)));
    if constexpr (kRefined > 0)
      sum = _mm512_add_epi8(sum, words<1>(tables_.refinements, codes_ + 2 * kRows + 8 * eight));
    if constexpr (kRefined > 1)
      sum = _mm512_add_epi8(_mm512_add_epi8(sum, sum), words<1>(tables_.refinements, codes_ + 3 * kRows + 8 * eight));
    return sum;
  }

 private:
  // Those of eight bytes, each `stride` behind the one before.
  template <std::size_t kStride>
  static __m512i words(const std::uint64_t* table, const std::uint8_t* bytes) {
    const auto word = [&](std::size_t i) { return static_cast<long long>(table[bytes[kStride * i]]); };
    return _mm512_setr_epi64(word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7));
  }

  const OctetTables& tables_;
  const std::uint8_t* codes_;
  alignas(32) std::uint64_t signs_[kRows / 8];
  std::uint32_t shifts_[2];
};

// Words of two vectors, of which each lane has two: the first of each, and the second.
struct Parted {
  __m512i lower, upper;
};
Parted part(__m512i first, __m512i second) {
  const __m512i lower = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i upper = _mm512_add_epi32(lower, _mm512_set1_epi32(1));
  return {_mm512_permutex2var_epi32(first, lower, second), _mm512_permutex2var_epi32(first, upper, second)};
}

template <std::size_t kRefined>
void decode_octets(const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel) {
  constexpr std::size_t kQuadBytes = kRows * 4;
  const OctetTables& tables = octet_tables();
  for (std::size_t i = 0; i < octets; ++i, codes += octet_bytes(kRefined), panel += 2 * kQuadBytes) {
    const Octet<kRefined> octet(tables, codes);
    for (std::size_t eight = 0; eight < kEights; eight += 2) {
      const Parted operands = part(octet.operands(eight), octet.operands(eight + 1));
      _mm512_storeu_si512(panel + 32 * eight, operands.lower);
      _mm512_storeu_si512(panel + kQuadBytes + 32 * eight, operands.upper);
    }
  }
}

// Sums of products: a lane of 64 bits has a row's, of the first four columns of octets and of the others.
struct Sums {
  __m512i eights[kEights];

  template <std::size_t kRefined>
  void add(const Octet<kRefined>& octet, std::uint64_t x) {
    const __m512i inputs = _mm512_set1_epi64(static_cast<long long>(x));
#pragma GCC unroll 8
    for (std::size_t eight = 0; eight < kEights; ++eight)
      eights[eight] = _mm512_dpbusd_epi32(eights[eight], octet.operands(eight), inputs);
  }
  // Of rows 16 * v and behind.
  __m512i of_rows(std::size_t v) const {
    const Parted halves = part(eights[2 * v], eights[2 * v + 1]);
    return _mm512_add_epi32(halves.lower, halves.upper);
  }
};

std::uint64_t eight_inputs(const std::int8_t* x) {
  std::uint64_t eight;
  __builtin_memcpy(&eight, x, sizeof eight);
  return eight;
}

template <std::size_t kRefined>
Sums sum_octets(const OctetTables& tables, const std::uint8_t* codes, std::size_t octets, const std::int8_t* x,
                std::size_t read_ahead) {
  Sums sums = {};
  for (std::size_t i = 0; i < octets; ++i, codes += octet_bytes(kRefined)) {
    if (read_ahead != 0)
      for (std::size_t line = 0; line < octet_bytes(kRefined); line += 64)
        __builtin_prefetch(codes + read_ahead + line, 0, 2);
    sums.add(Octet<kRefined>(tables, codes), eight_inputs(x + 8 * i));
  }
  return sums;
}

// Of the quads of columns of which `wide` has the bits.
template <std::size_t kRefined>
[[gnu::noinline]] Sums sum_wide(const OctetTables& tables, const std::uint8_t* codes, std::uint64_t wide,
                                const std::int8_t* x) {
  Sums sums = {};
  for (; wide != 0; wide &= wide - 1) {
    const auto quad = static_cast<std::size_t>(__builtin_ctzll(wide));
    const std::uint64_t half = std::uint64_t{0xffffffff} << (32 * (quad % 2));
    sums.add(Octet<kRefined>(tables, codes + quad / 2 * octet_bytes(kRefined)), eight_inputs(x + quad / 2 * 8) & half);
  }
  return sums;
}

template <std::size_t kRefined>
void multiply_octets(const TileVector& p) {
  constexpr std::size_t kVectors = kRows / 16;
  const OctetTables& tables = octet_tables();
  __m512 total[kVectors];
  for (std::size_t v = 0; v < kVectors; ++v)
    total[v] = p.accumulate ? _mm512_loadu_ps(p.y + 16 * v) : _mm512_setzero_ps();
  const auto add = [&](std::size_t v, __m512i sum, float x_scale) {
    total[v] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(p.scales + 16 * v)),
                               _mm512_set1_ps(x_scale), total[v]);
  };
  if (p.sums_whole_rows) {
    const Sums sums = sum_octets<kRefined>(tables, p.tiles, p.columns / 8, p.x.codes, p.read_ahead);
    for (std::size_t v = 0; v < kVectors; ++v)
      add(v, _mm512_add_epi32(sums.of_rows(v), _mm512_set1_epi32(*p.x.biases)), *p.x.scales);
  }
  for (std::size_t start = 0; start < p.columns && !p.sums_whole_rows; start += p.run) {
    const std::size_t columns = p.columns - start < p.run ? p.columns - start : p.run;
    const std::size_t block = start / kBlockDepth, run = start % kBlockDepth / p.run;
    const std::uint8_t* const codes = p.tiles + start / 8 * octet_bytes(kRefined);
    const Sums sums = sum_octets<kRefined>(tables, codes, columns / 8, p.x.codes + start, p.read_ahead);
    const std::uint64_t wide =
        p.x.wide_quads[block] >> (start % kBlockDepth / 4) & ((std::uint64_t{1} << (columns / 4)) - 1);
    __m512i rows[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v)
      rows[v] = _mm512_add_epi32(sums.of_rows(v), _mm512_set1_epi32(p.x.biases[block * kMaxGroups + run]));
    if (wide != 0) [[unlikely]] {
      const Sums more = sum_wide<kRefined>(tables, codes, wide, p.x.wide + start);
      for (std::size_t v = 0; v < kVectors; ++v)
        rows[v] = _mm512_add_epi32(rows[v], _mm512_slli_epi32(more.of_rows(v), kWideShift));
    }
    for (std::size_t v = 0; v < kVectors; ++v) add(v, rows[v], p.x.scales[block * p.x.runs + run]);
  }
  for (std::size_t v = 0; v < kVectors; ++v) _mm512_storeu_ps(p.y + 16 * v, total[v]);
}

void decode(std::size_t num_refinements, const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel) {
  if (num_refinements == 0) return decode_octets<0>(codes, octets, panel);
  num_refinements == 1 ? decode_octets<1>(codes, octets, panel) : decode_octets<2>(codes, octets, panel);
}

void vector(std::size_t num_refinements, const TileVector& p) {
  if (num_refinements == 0) return multiply_octets<0>(p);
  num_refinements == 1 ? multiply_octets<1>(p) : multiply_octets<2>(p);
}

}  // namespace

const LatticeKernels kLatticeKernels = {decode, vector};

}  // namespace nibble::avx512
