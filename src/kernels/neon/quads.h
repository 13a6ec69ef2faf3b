// SPDX-License-Identifier: Apache-2.0
//
// Dot products of four bytes without an instruction for them: products in 16 bits, whose pairs and pairs of pairs are
// summed in 32.
#pragma once

#include "kernels/neon/bytes.h"

namespace nibble::neon {
namespace {

struct Quad {
  using StoredKeys = KeyBytes;
  int8x16_t v;
  static Quad load(const std::int8_t* p) { return {as_signed(repeat_word(p))}; }
};
inline int32x4_t dot_part(int32x4_t sum, uint8x16_t w, Quad q) {
  const int16x8_t low = vmull_s8(vget_low_s8(as_signed(w)), vget_low_s8(q.v)), high = vmull_high_s8(as_signed(w), q.v);
  return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}
inline Sums dot(Sums s, Bytes w, Quad q) {
  return {dot_part(s.a, w.a, q), dot_part(s.b, w.b, q), dot_part(s.c, w.c, q), dot_part(s.d, w.d, q)};
}

// The same where they are unsigned, and the line's bytes signed: these plus 128, less what that is too much.
struct UnsignedQuad {
  uint8x16_t v;
  int32x4_t excess;
  static UnsignedQuad load(const std::uint8_t* p) {
    const uint8x16_t x = repeat_word(p);
    return {x, vshlq_n_s32(vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(x))), 7)};
  }
};
inline int32x4_t dot_part(int32x4_t sum, uint8x16_t w, UnsignedQuad q) {
  const uint8x16_t x = flipped(w);
  const uint32x4_t low = vpaddlq_u16(vmull_u8(vget_low_u8(x), vget_low_u8(q.v))),
                   high = vpaddlq_u16(vmull_high_u8(x, q.v));
  return vaddq_s32(sum, vsubq_s32(vreinterpretq_s32_u32(vpaddq_u32(low, high)), q.excess));
}
inline Sums dot(Sums s, Bytes w, UnsignedQuad q) {
  return {dot_part(s.a, w.a, q), dot_part(s.b, w.b, q), dot_part(s.c, w.c, q), dot_part(s.d, w.d, q)};
}

}  // namespace
}  // namespace nibble::neon
