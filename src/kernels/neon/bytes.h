// SPDX-License-Identifier: Apache-2.0
//
// Lines of 64 bytes in four registers, and sums of what is multiplied of them. Serves all sets of aarch64, which differ
// in their dot products only. Operands are signed (KernelTable::signed_operands).
#pragma once

#include "kernels/neon/vectors.h"

namespace nibble::neon {
namespace {

struct Bytes {
  static constexpr bool kShiftsBytes = true;
  uint8x16_t a, b, c, d;

  static Bytes load(const std::uint8_t* p) {
    return {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)};
  }
  static Bytes all(uint8x16_t x) { return {x, x, x, x}; }
  static Bytes set(std::uint8_t x) { return all(vdupq_n_u8(x)); }
  static Bytes table(const std::uint8_t* points) { return all(vld1q_u8(points)); }
  void store(std::uint8_t* p) const {
    vst1q_u8(p, a);
    vst1q_u8(p + 16, b);
    vst1q_u8(p + 32, c);
    vst1q_u8(p + 48, d);
  }
};

inline uint8x16_t flipped(uint8x16_t x) { return veorq_u8(x, vdupq_n_u8(128)); }
inline int8x16_t as_signed(uint8x16_t x) { return vreinterpretq_s8_u8(x); }

// Keys of 8 bits as they are stored, 128 more than their value, less that.
struct KeyBytes : Bytes {
  static KeyBytes load(const std::uint8_t* p) {
    const Bytes x = Bytes::load(p);
    return {{flipped(x.a), flipped(x.b), flipped(x.c), flipped(x.d)}};
  }
};

// Each byte by itself, right, or left for negative numbers.
template <int kShift>
inline uint8x16_t shift_part(uint8x16_t x) {
  if constexpr (kShift > 0)
    return x >> kShift;
  else if constexpr (kShift < 0)
    return x << -kShift;
  else
    return x;
}
template <int kShift>
inline Bytes shift(Bytes x) {
  return {shift_part<kShift>(x.a), shift_part<kShift>(x.b), shift_part<kShift>(x.c), shift_part<kShift>(x.d)};
}
inline void touch(Bytes x) {
  __asm__ volatile("" : : "w"(x.a), "w"(x.b), "w"(x.c), "w"(x.d));
}  // a load that nobody uses is still made
template <int kShift>
inline Bytes shift_and(Bytes x, Bytes mask) {
  const Bytes moved = shift<kShift>(x);
  return {vandq_u8(moved.a, mask.a), vandq_u8(moved.b, mask.b), vandq_u8(moved.c, mask.c), vandq_u8(moved.d, mask.d)};
}
// Bits of x where the mask has ones, of y elsewhere.
inline Bytes select(Bytes mask, Bytes x, Bytes y) {
  return {vbslq_u8(mask.a, x.a, y.a), vbslq_u8(mask.b, x.b, y.b), vbslq_u8(mask.c, x.c, y.c),
          vbslq_u8(mask.d, x.d, y.d)};
}
inline Bytes join(Bytes x, Bytes y) {
  return {vorrq_u8(x.a, y.a), vorrq_u8(x.b, y.b), vorrq_u8(x.c, y.c), vorrq_u8(x.d, y.d)};
}
inline Bytes multiply(Bytes x, Bytes y) {
  return {vmulq_u8(x.a, y.a), vmulq_u8(x.b, y.b), vmulq_u8(x.c, y.c), vmulq_u8(x.d, y.d)};
}
// 16 indices below 16 each.
inline Bytes shuffle(Bytes x, uint8x16_t order) {
  return {vqtbl1q_u8(x.a, order), vqtbl1q_u8(x.b, order), vqtbl1q_u8(x.c, order), vqtbl1q_u8(x.d, order)};
}
// Byte kByte of each dword in all four.
template <int kByte>
inline Bytes spread(Bytes x) {
  const uint8x16_t first = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  return shuffle(x, vaddq_u8(first, vdupq_n_u8(kByte)));
}
inline Bytes look_up(Bytes table, Bytes index) {
  return {vqtbl1q_u8(table.a, index.a), vqtbl1q_u8(table.b, index.b), vqtbl1q_u8(table.c, index.c),
          vqtbl1q_u8(table.d, index.d)};
}

// Byte kByte of each lane; signed ones 2^24 times too large.
template <int kByte, bool kSigned>
inline float32x4_t byte_of_part(uint8x16_t x) {
  const uint32x4_t words = vreinterpretq_u32_u8(x);
  const uint32x4_t top = kByte == 3 ? words : vshlq_n_u32(words, kByte == 3 ? 0 : 24 - 8 * kByte);
  if constexpr (kSigned)
    return vcvtq_f32_s32(vreinterpretq_s32_u32(vandq_u32(top, vdupq_n_u32(0xff000000u))));
  else
    return vcvtq_f32_u32(vshrq_n_u32(top, 24));
}
template <int kByte, bool kSigned>
inline F32 byte_to_f32(Bytes x) {
  return {byte_of_part<kByte, kSigned>(x.a), byte_of_part<kByte, kSigned>(x.b), byte_of_part<kByte, kSigned>(x.c),
          byte_of_part<kByte, kSigned>(x.d)};
}

template <int kLeft>
inline uint32x4_t moved(uint8x16_t x) {
  const uint32x4_t words = vreinterpretq_u32_u8(x);
  if constexpr (kLeft > 0)
    return vshlq_n_u32(words, kLeft);
  else if constexpr (kLeft < 0)
    return vshrq_n_u32(words, -kLeft);
  else
    return words;
}
inline float32x4_t bits_of_part(uint32x4_t bits, std::uint32_t mask, uint32x4_t others) {
  return vreinterpretq_f32_u32(vorrq_u32(vandq_u32(bits, vdupq_n_u32(mask)), others));
}
// Byte kByte of each lane as a small float: its lowest kMagnitude bits at the end of f32's exponent field and in the
// mantissa, with 64 added to the exponent.
template <int kByte, int kMagnitude, int kMantissa>
inline F32 magnitude_of_byte(Bytes x) {
  constexpr int kLeft = 23 - kMantissa - 8 * kByte;
  constexpr std::uint32_t kMask = ((1u << kMagnitude) - 1u) << (23 - kMantissa);
  const uint32x4_t exponent = vdupq_n_u32(64u << 23);
  return {bits_of_part(moved<kLeft>(x.a), kMask, exponent), bits_of_part(moved<kLeft>(x.b), kMask, exponent),
          bits_of_part(moved<kLeft>(x.c), kMask, exponent), bits_of_part(moved<kLeft>(x.d), kMask, exponent)};
}
// `power`, with bit kMagnitude of the same byte as its sign.
template <int kByte, int kMagnitude>
inline F32 with_sign_of_byte(F32 power, Bytes x) {
  constexpr int kLeft = 31 - kMagnitude - 8 * kByte;
  constexpr std::uint32_t kSign = 0x80000000u;
  const auto bits = [](float32x4_t part) { return vreinterpretq_u32_f32(part); };
  return {bits_of_part(moved<kLeft>(x.a), kSign, bits(power.a)), bits_of_part(moved<kLeft>(x.b), kSign, bits(power.b)),
          bits_of_part(moved<kLeft>(x.c), kSign, bits(power.c)), bits_of_part(moved<kLeft>(x.d), kSign, bits(power.d))};
}

// A whole number added to the bits of each lane.
inline F32 plus_bits(F32 x, std::int32_t more) {
  const uint32x4_t all = vdupq_n_u32(static_cast<std::uint32_t>(more));
  const auto plus = [all](float32x4_t part) {
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(part), all));
  };
  return {plus(x.a), plus(x.b), plus(x.c), plus(x.d)};
}
inline F32 absolute(F32 x) { return {vabsq_f32(x.a), vabsq_f32(x.b), vabsq_f32(x.c), vabsq_f32(x.d)}; }

// The lower 16 bits of each lane: of the first eight lanes, and of the others.
struct LowHalves {
  uint8x16_t first, others;
};
inline LowHalves low_halves(F32 x) {
  const auto bits = [](float32x4_t part) { return vreinterpretq_u16_f32(part); };
  return {vreinterpretq_u8_u16(vuzp1q_u16(bits(x.a), bits(x.b))),
          vreinterpretq_u8_u16(vuzp1q_u16(bits(x.c), bits(x.d)))};
}
inline uint8x16_t low_bytes(F32 x) {
  const LowHalves halves = low_halves(x);
  return vuzp1q_u8(halves.first, halves.others);
}
// The lowest byte of each lane.
inline void store_low_bytes(F32 x, std::int8_t* p) { vst1q_s8(p, as_signed(low_bytes(x))); }
// The first n of sixteen.
inline void store_low_bytes_part(F32 x, std::int8_t* p, std::size_t n) {
  alignas(16) std::int8_t bytes[16];
  store_low_bytes(x, bytes);
  for (std::size_t i = 0; i < n && i < 16; ++i) p[i] = bytes[i];
}
inline void store_second_bytes(F32 x, std::uint8_t* p) {
  const LowHalves halves = low_halves(x);
  vst1q_u8(p, vuzp2q_u8(halves.first, halves.others));
}

struct Sums {
  int32x4_t a, b, c, d;
  static Sums set(std::int32_t x) {
    const int32x4_t all = vdupq_n_s32(x);
    return {all, all, all, all};
  }
  static int32x4_t bits_at(const float* p) { return vreinterpretq_s32_f32(vld1q_f32(p)); }
  static Sums load_bits(const float* p) { return {bits_at(p), bits_at(p + 4), bits_at(p + 8), bits_at(p + 12)}; }
  void store_bits(float* p) const {
    vst1q_f32(p, vreinterpretq_f32_s32(a));
    vst1q_f32(p + 4, vreinterpretq_f32_s32(b));
    vst1q_f32(p + 8, vreinterpretq_f32_s32(c));
    vst1q_f32(p + 12, vreinterpretq_f32_s32(d));
  }
};
inline Sums add(Sums x, Sums y) {
  return {vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b), vaddq_s32(x.c, y.c), vaddq_s32(x.d, y.d)};
}
template <int kShift>
inline Sums shift_left(Sums s) {
  return {vshlq_n_s32(s.a, kShift), vshlq_n_s32(s.b, kShift), vshlq_n_s32(s.c, kShift), vshlq_n_s32(s.d, kShift)};
}
inline Sums to_sums(F32 x) {  // of whole numbers
  return {vcvtq_s32_f32(x.a), vcvtq_s32_f32(x.b), vcvtq_s32_f32(x.c), vcvtq_s32_f32(x.d)};
}
inline F32 to_f32(Sums s) { return {vcvtq_f32_s32(s.a), vcvtq_f32_s32(s.b), vcvtq_f32_s32(s.c), vcvtq_f32_s32(s.d)}; }

// Four bytes in every word.
inline uint8x16_t repeat_word(const void* p) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return vreinterpretq_u8_u32(vdupq_n_u32(bits));
}

}  // namespace
}  // namespace nibble::neon
