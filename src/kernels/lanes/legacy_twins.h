// SPDX-License-Identifier: Apache-2.0
//
// The row loops of the blocks of 32 whose reference rounds plainly (format/family/legacy_block.h, format/block/q8_0.h),
// for whichever instruction set this is compiled for.
#pragma once

#include <cstring>

#include "format/block/q4_0.h"
#include "format/block/q4_1.h"
#include "format/block/q5_0.h"
#include "format/block/q5_1.h"
#include "format/block/q8_0.h"
#include "format/lanes.h"
#include "kernels/encode/encoder_list.h"

namespace nibble {
namespace {

constexpr std::size_t kLegacyBlock = 32;

inline float inverse_of_scale(float d) { return d >= kMinNormal || -d >= kMinNormal ? 1.0f / d : 0.0f; }

// The largest and the negated smallest of 32 values.
struct Ends {
  float high, minus_low;
};
[[gnu::always_inline]] inline Ends find_ends(const float* x) {
  Lanes high, minus_low;
  for (std::size_t v = 0; v < kVectors; ++v) {
    const Vector first = load(x + v * kWidth), second = load(x + kLanes + v * kWidth);
    high[v] = max(first, second);
    minus_low[v] = -min(first, second);
  }
  return {largest_lane(high), largest_lane(minus_low)};
}

// Codes of 32 values: whole parts of x * inverse + shift inside [0, top].
[[gnu::always_inline]] inline void find_plain_codes(const float* x, float offset, float inverse, float shift, float top,
                                                    std::uint8_t* codes) {
  for (std::size_t i = 0; i < kLegacyBlock; i += kLanes) {
    Lanes lanes;
    for (std::size_t v = 0; v < kVectors; ++v)
      lanes[v] = clamp((load(x + i + v * kWidth) - offset) * inverse + shift, 0, top);
    store_bytes(codes + i, lanes);
  }
}

[[gnu::always_inline]] inline void pack_fifth_bits_of_bytes(const std::uint8_t* codes, std::uint8_t* qh) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  const int bits = _mm256_movemask_epi8(_mm256_slli_epi16(bytes, 3));
  std::memcpy(qh, &bits, 4);
}

struct Q8_0Twin {
  static void encode(const float* x, const float*, const FitOptions&, std::size_t count, std::byte* blocks) {
    for (std::size_t b = 0; b < count; ++b, x += kLegacyBlock, blocks += sizeof(Q8_0::Block)) {
      const Ends ends = find_ends(x);
      const float d = (ends.high > ends.minus_low ? ends.high : ends.minus_low) / 127.0f + 0.0f;  // no negative zero
      const float inverse = inverse_of_scale(d);
      Q8_0::Block block;
      block.d = to_f16_saturated(d);
      for (std::size_t i = 0; i < kLegacyBlock; i += kLanes) {
        Lanes lanes;
        for (std::size_t v = 0; v < kVectors; ++v) {
          // Half away from zero: the whole part of the value and almost one half.
          const Vector value = load(x + i + v * kWidth) * inverse;
          lanes[v] = value + (value < 0 ? splat(-0.49999997f) : splat(0.49999997f));
        }
        store_bytes(block.qs + i, lanes);
      }
      std::memcpy(blocks, &block, sizeof(block));
    }
  }
  static constexpr BlockTwin kEntry{.name = Q8_0::kInfo.name, .columns = kLegacyBlock, .encode = encode};
};

template <class Type, int kBits>
struct SymmetricLegacyTwin {
  static constexpr int kMiddle = 1 << (kBits - 1);

  // The value of largest magnitude, the first of several.
  [[gnu::always_inline]] static float find_signed_peak(const float* x) {
    const Ends ends = find_ends(x);
    if (ends.high > ends.minus_low) return ends.high;
    if (ends.minus_low > ends.high) return -ends.minus_low;
    for (std::size_t i = 0; i < kLegacyBlock; ++i)
      if (x[i] == ends.high || x[i] == -ends.high) return x[i];
    return 0;
  }

  static void encode(const float* x, const float*, const FitOptions&, std::size_t count, std::byte* blocks) {
    for (std::size_t b = 0; b < count; ++b, x += kLegacyBlock, blocks += sizeof(typename Type::Block)) {
      const float d = find_signed_peak(x) / -kMiddle;
      std::uint8_t codes[kLegacyBlock];
      find_plain_codes(x, 0, inverse_of_scale(d), kMiddle + 0.5f, 2.0f * kMiddle - 1, codes);
      typename Type::Block block;
      block.d = to_f16_saturated(d);
      pack_nibbles(codes, block.qs);
      if constexpr (kBits == 5) pack_fifth_bits_of_bytes(codes, block.qh);
      std::memcpy(blocks, &block, sizeof(block));
    }
  }
  static constexpr BlockTwin kEntry{
      .name = Type::kInfo.name, .columns = kLegacyBlock, .encode = encode, .is_plain = true};
};

template <class Type, int kBits>
struct AffineLegacyTwin {
  static constexpr int kMaxCode = (1 << kBits) - 1;

  static void encode(const float* x, const float*, const FitOptions&, std::size_t count, std::byte* blocks) {
    for (std::size_t b = 0; b < count; ++b, x += kLegacyBlock, blocks += sizeof(typename Type::Block)) {
      const Ends ends = find_ends(x);
      float low = -ends.minus_low;
      // Of zeros of both signs the first, as the reference finds it.
      for (std::size_t i = 0; low == 0 && i < kLegacyBlock; ++i)
        if (x[i] == 0) {
          low = x[i];
          break;
        }
      const float d = (ends.high - low) / kMaxCode;
      std::uint8_t codes[kLegacyBlock];
      find_plain_codes(x, low, inverse_of_scale(d), 0.5f, kMaxCode, codes);
      typename Type::Block block;
      block.d = to_f16_saturated(d);
      block.m = to_f16_saturated(low);
      pack_nibbles(codes, block.qs);
      if constexpr (kBits == 5) pack_fifth_bits_of_bytes(codes, block.qh);
      std::memcpy(blocks, &block, sizeof(block));
    }
  }
  static constexpr BlockTwin kEntry{
      .name = Type::kInfo.name, .columns = kLegacyBlock, .encode = encode, .is_plain = true};
};

}  // namespace
}  // namespace nibble
