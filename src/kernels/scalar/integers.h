// SPDX-License-Identifier: Apache-2.0
//
// Lines of 64 bytes and their dot products in plain C++.
#pragma once

#include "kernels/scalar/vectors.h"

namespace nibble::scalar {
namespace {

struct Bytes {
  std::uint8_t v[64];

  static Bytes load(const std::uint8_t* p) {
    Bytes r;
    std::memcpy(r.v, p, 64);
    return r;
  }
  static Bytes set(std::uint8_t x) {
    Bytes r;
    std::memset(r.v, x, 64);
    return r;
  }
  static Bytes table(const std::uint8_t* points) {
    Bytes r;
    for (int i = 0; i < 64; ++i) r.v[i] = points[i % 16];
    return r;
  }
  void store(std::uint8_t* p) const { std::memcpy(p, v, 64); }
};

// Each byte by itself, right, or left for negative numbers. (Vector units shift 16 bits at a time; nobody uses what
// crosses over.)
template <int kShift>
inline Bytes shift(Bytes x) {
  for (std::uint8_t& byte : x.v)
    byte = static_cast<std::uint8_t>(kShift >= 0 ? byte >> (kShift >= 0 ? kShift : 0)
                                                 : byte << (kShift < 0 ? -kShift : 0));
  return x;
}
template <int kShift>
inline Bytes shift_and(Bytes x, Bytes mask) {
  x = shift<kShift>(x);
  for (int i = 0; i < 64; ++i) x.v[i] = static_cast<std::uint8_t>(x.v[i] & mask.v[i]);
  return x;
}
// Bits of a where the mask has ones, of b elsewhere.
inline Bytes select(Bytes mask, Bytes a, Bytes b) {
  for (int i = 0; i < 64; ++i) b.v[i] = static_cast<std::uint8_t>((mask.v[i] & a.v[i]) | (~mask.v[i] & b.v[i]));
  return b;
}
inline Bytes join(Bytes a, Bytes b) {
  for (int i = 0; i < 64; ++i) a.v[i] = static_cast<std::uint8_t>(a.v[i] | b.v[i]);
  return a;
}
inline Bytes multiply(Bytes a, Bytes b) {  // products below 256
  for (int i = 0; i < 64; ++i) a.v[i] = static_cast<std::uint8_t>(a.v[i] * b.v[i]);
  return a;
}
// Byte kByte of each dword in all four.
template <int kByte>
inline Bytes spread(Bytes x) {
  Bytes out;
  for (int i = 0; i < 64; ++i) out.v[i] = x.v[i / 4 * 4 + kByte];
  return out;
}
inline Bytes look_up(Bytes table, Bytes index) {
  for (std::uint8_t& x : index.v) x = table.v[x];
  return index;
}

// Four activations, the same for all rows.
struct Quad {
  std::int8_t v[4];
  static Quad load(const std::int8_t* p) {
    Quad q;
    std::memcpy(q.v, p, 4);
    return q;
  }
};

// The same where they are unsigned, and the line's bytes signed.
struct UnsignedQuad {
  std::uint8_t v[4];
  static UnsignedQuad load(const std::uint8_t* p) {
    UnsignedQuad q;
    std::memcpy(q.v, p, 4);
    return q;
  }
};

struct Sums {
  std::int32_t v[16];
  static Sums set(std::int32_t x) {
    Sums s;
    for (std::int32_t& lane : s.v) lane = x;
    return s;
  }
  static Sums load_bits(const float* p) {
    Sums s;
    std::memcpy(s.v, p, sizeof(s.v));
    return s;
  }
  void store_bits(float* p) const { std::memcpy(p, v, sizeof(v)); }
};
inline Sums dot(Sums s, Bytes w, Quad q) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j) s.v[i] += w.v[4 * i + j] * q.v[j];
  return s;
}
inline Sums dot(Sums s, Bytes w, UnsignedQuad q) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j) s.v[i] += static_cast<std::int8_t>(w.v[4 * i + j]) * q.v[j];
  return s;
}
inline Sums add(Sums a, Sums b) {
  for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
  return a;
}
template <int kShift>
inline Sums shift_left(Sums s) {
  for (std::int32_t& lane : s.v) lane = static_cast<std::int32_t>(static_cast<std::uint32_t>(lane) << kShift);
  return s;
}
inline Sums to_sums(F32 x) {  // of whole numbers
  Sums s;
  for (int i = 0; i < 16; ++i) s.v[i] = static_cast<std::int32_t>(x.v[i]);
  return s;
}
inline F32 to_f32(Sums s) {
  F32 r;
  for (int i = 0; i < 16; ++i) r.v[i] = static_cast<float>(s.v[i]);
  return r;
}

// Byte kByte of each lane; signed ones 2^24 times too large.
template <int kByte, bool kSigned>
inline F32 byte_to_f32(Bytes x) {
  F32 r;
  for (int i = 0; i < 16; ++i) {
    const std::uint8_t byte = x.v[4 * i + kByte];
    r.v[i] = kSigned ? static_cast<float>(static_cast<std::int8_t>(byte)) * 0x1p24f : static_cast<float>(byte);
  }
  return r;
}

// Byte kByte of each lane as a small float: its lowest kMagnitude bits at the end of f32's exponent field and in the
// mantissa, with 64 added to the exponent.
template <int kByte, int kMagnitude, int kMantissa>
inline F32 magnitude_of_byte(Bytes x) {
  F32 r;
  for (int i = 0; i < 16; ++i) {
    const std::uint32_t byte = x.v[4 * i + kByte],
                        bits = (byte & ((1u << kMagnitude) - 1u)) << (23 - kMantissa) | 64u << 23;
    std::memcpy(&r.v[i], &bits, 4);
  }
  return r;
}
// `power`, with bit kMagnitude of the same byte as its sign.
template <int kByte, int kMagnitude>
inline F32 with_sign_of_byte(F32 power, Bytes x) {
  for (int i = 0; i < 16; ++i)
    if ((x.v[4 * i + kByte] >> kMagnitude & 1u) != 0) power.v[i] = -power.v[i];
  return power;
}

// A whole number added to the bits of each lane.
inline F32 plus_bits(F32 x, std::int32_t more) {
  for (float& lane : x.v) {
    std::uint32_t bits;
    std::memcpy(&bits, &lane, 4);
    bits += static_cast<std::uint32_t>(more);
    std::memcpy(&lane, &bits, 4);
  }
  return x;
}
inline F32 absolute(F32 x) {
  for (float& lane : x.v) lane = std::fabs(lane);
  return x;
}
// The lowest byte of each lane.
inline void store_low_bytes(F32 x, std::int8_t* p) {
  for (int i = 0; i < 16; ++i) std::memcpy(p + i, &x.v[i], 1);
}
inline void store_low_bytes_part(F32 x, std::int8_t* p, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) std::memcpy(p + i, &x.v[i], 1);
}
inline void store_second_bytes(F32 x, std::uint8_t* p) {
  for (int i = 0; i < 16; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &x.v[i], 4);
    p[i] = static_cast<std::uint8_t>(bits >> 8);
  }
}

}  // namespace
}  // namespace nibble::scalar
