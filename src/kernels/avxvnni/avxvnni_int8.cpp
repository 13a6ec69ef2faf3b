// SPDX-License-Identifier: Apache-2.0
//
// Integer products with the 256-bit VPDPBUSD; everything else is as in AVX2.
#include "kernels/avx2/bytes.h"
#include "kernels/avxvnni/parts.h"
#include "kernels/lanes/integer_functions.h"

namespace nibble::avxvnni {
namespace {

struct Quad {
  __m256i v;
  static Quad load(const std::int8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    return {_mm256_set1_epi32(bits)};
  }
};
inline avx2::Sums dot(avx2::Sums s, avx2::Bytes w, Quad q) {
  return {_mm256_dpbusd_avx_epi32(s.a, w.a, q.v), _mm256_dpbusd_avx_epi32(s.b, w.b, q.v)};
}

}  // namespace

void fill_int8(KernelTable& table) { lanes::fill_integer_functions<avx2::F32, avx2::Bytes, avx2::Sums, Quad, 4, 1, 2, 1, false>(table); }

}  // namespace nibble::avxvnni
