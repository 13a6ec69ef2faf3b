// SPDX-License-Identifier: Apache-2.0
//
// Dot products of four bytes by SDOT, and by UDOT where activations are unsigned.
#pragma once

#include "kernels/neon/bytes.h"

namespace nibble::neon_dot {
namespace {

using neon::Bytes;
using neon::Sums;

struct Quad {
  using StoredKeys = neon::KeyBytes;
  int8x16_t v;
  static Quad load(const std::int8_t* p) { return {neon::as_signed(neon::repeat_word(p))}; }
};
// The intrinsic would do, but g++ 12 gives its in-out operand two homes and moves accumulators to and fro.
[[gnu::always_inline]] inline void multiply_add(int32x4_t& sum, uint8x16_t w, int8x16_t q) {
  __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(q));
}
[[gnu::always_inline]] inline Sums dot(Sums s, Bytes w, Quad q) {
  multiply_add(s.a, w.a, q.v);
  multiply_add(s.b, w.b, q.v);
  multiply_add(s.c, w.c, q.v);
  multiply_add(s.d, w.d, q.v);
  return s;
}

// The same where they are unsigned, and the line's bytes signed: these plus 128, less what that is too much.
struct UnsignedQuad {
  uint8x16_t v;
  int32x4_t excess;
  static UnsignedQuad load(const std::uint8_t* p) {
    const uint8x16_t x = neon::repeat_word(p);
    return {x, vreinterpretq_s32_u32(vdotq_u32(vdupq_n_u32(0), x, vdupq_n_u8(128)))};
  }
};
[[gnu::always_inline]] inline int32x4_t dot_part(int32x4_t sum, uint8x16_t w, UnsignedQuad q) {
  const uint32x4_t all = vdotq_u32(vreinterpretq_u32_s32(sum), neon::flipped(w), q.v);
  return vsubq_s32(vreinterpretq_s32_u32(all), q.excess);
}
[[gnu::always_inline]] inline Sums dot(Sums s, Bytes w, UnsignedQuad q) {
  return {dot_part(s.a, w.a, q), dot_part(s.b, w.b, q), dot_part(s.c, w.c, q), dot_part(s.d, w.d, q)};
}

}  // namespace
}  // namespace nibble::neon_dot
