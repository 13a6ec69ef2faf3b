// SPDX-License-Identifier: Apache-2.0
//
// AVX512_VPOPCNTDQ counts the ones of eight words in one instruction.
#include <immintrin.h>

#include "kernels/avx512/parts.h"
#include "kernels/lanes/binary_product.h"

namespace nibble::avx512 {
namespace {

struct Words {
  __m512i v;
  static Words set(std::uint64_t x) { return {_mm512_set1_epi64(static_cast<long long>(x))}; }
  static Words load(const std::uint64_t* p) { return {_mm512_loadu_si512(p)}; }
  void store_narrow(std::uint32_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi64_epi32(v));
  }
};
inline Words add(Words x, Words y) { return {_mm512_add_epi64(x.v, y.v)}; }
inline Words exclusive_or(Words x, Words y) { return {_mm512_xor_si512(x.v, y.v)}; }
inline Words count_ones(Words x) { return {_mm512_popcnt_epi64(x.v)}; }

}  // namespace

void fill_binary(KernelTable& table) { table.binary_product = lanes::binary_product<Words, 4, 4>; }

}  // namespace nibble::avx512
