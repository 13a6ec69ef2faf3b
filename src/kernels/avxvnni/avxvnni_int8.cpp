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
// The intrinsic would do, but g++ 12 gives its in-out operand two homes and spills every accumulator of a large tile in every step.
[[gnu::always_inline]] inline avx2::Sums dot(avx2::Sums s, avx2::Bytes w, Quad q) {
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s.a) : "x"(w.a), "x"(q.v));
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s.b) : "x"(w.b), "x"(q.v));
  return s;
}

}  // namespace

void fill_int8(KernelTable& table) { lanes::fill_integer_functions<avx2::F32, avx2::Bytes, avx2::Sums, Quad, 6, 1, 4, 1, true>(table); }

}  // namespace nibble::avxvnni
