// SPDX-License-Identifier: Apache-2.0
//
// Quantization of activations to int8: with a scale of its own for every run of a token's columns, wide columns apart,
// or on a grid that is given.
#pragma once

#include "kernels/linear/integer_shape.h"

namespace nibble::lanes {

// Adding it rounds to an integer, whose two's complement is then the lowest byte.
static constexpr float kRoundingShift = 12582912.0f;  // 1.5 * 2^23
static constexpr std::size_t kRunVectors = kActivationDepth / 16;
static constexpr float kLargestCode = 127.0f, kLargestWide = 127.0f * 128.0f;
static constexpr float kSmallestTop = 1e-33f;  // of a run: less would overflow the inverse of a wide scale

// Stores the codes of 16 columns, which stand in the lowest bytes of `shifted`, and returns their sum: exact, as they
// are small integers.
template <class F32>
[[gnu::always_inline]] static inline float store_codes(F32 shifted, F32 shift, std::int8_t* codes) {
  store_low_bytes(shifted, codes);
  return sum_lanes(sub(shifted, shift));
}

// Sums of codes over groups, as products read them. (A template, so that its functions are the set's own.)
template <class F32>
class GroupSums {
 public:
  GroupSums(const ActivationRounding& rounding, const ActivationTarget& out)
      : rounding_(rounding), out_(out), run_codes_(out.sum_codes), left_(rounding.group), run_end_(rounding.run) {
    const std::size_t bytes = kBlockDepth / rounding.run * kSumCodes;
    for (std::size_t i = 0; i < bytes; ++i) out.sum_codes[i] = 0;
  }
  // The sum of 16 more columns: exact, as codes are small integers.
  void put(float sum) {
    sum_ += sum;
    left_ -= 16;
    if (left_ == 0) finish();
  }

 private:
  // Whoever asks for the parts has groups of 16 or 32 columns.
  void finish() {
    out_.sums[group_] = sum_;
    const std::int32_t whole = static_cast<std::int32_t>(sum_), high = whole >> 6, highest = (high + 64) >> 7;
    out_.biases[group_++] = -rounding_.middle * whole;
    std::int8_t* const parts = run_codes_ + place_++;
    parts[0] = static_cast<std::int8_t>(whole & 63);
    parts[8] = static_cast<std::int8_t>(high - highest * 128);
    parts[16] = static_cast<std::int8_t>(highest);
    sum_ = 0;
    left_ = rounding_.group;
    column_ += rounding_.group;
    if (column_ % kActivationDepth == 0) place_ = 0;
    if (column_ != run_end_) return;
    run_end_ += rounding_.run;
    run_codes_ += kSumCodes;
  }

  const ActivationRounding& rounding_;
  const ActivationTarget& out_;
  std::int8_t* run_codes_;
  std::size_t left_, run_end_, column_ = 0, group_ = 0, place_ = 0;
  float sum_ = 0;
};

// The magnitude from which on columns are wide: the rule's times the mean magnitude, of which outliers are not allowed
// to be a part: they are cut off there, twice over. Never less than wide codes need; the largest magnitude where
// nothing is wide. sum: of all magnitudes.
template <class F32>
[[gnu::always_inline]] static inline float limit_of(const F32* values, std::size_t vectors, std::size_t count,
                                                    float top, float sum, const WideRule& rule) {
  constexpr float kReach = kLargestWide / kLargestCode;
  if (rule.limit == 0) return top / kReach;
  const float numbers = static_cast<float>(count);
  float limit = top, mean = sum / numbers;
  for (int round = 0; rule.limit * mean < limit; ++round) {
    limit = rule.limit * mean;
    if (round == 2) break;
    F32 sums = F32::set(0);
    const F32 cut = F32::set(limit);
    for (std::size_t i = 0; i < vectors; ++i) sums = add(sums, min(absolute(values[i]), cut));
    mean = sum_lanes(sums) / numbers;
  }
  if (!(limit < top) || top < rule.least * mean) return top;
  return limit < top / kReach ? top / kReach : limit;
}

// Whole numbers of a run as codes and wide codes. Returns the bits of the quads that have a wide one.
template <class F32>
[[gnu::always_inline]] static inline std::uint32_t split_wide(const F32* whole, std::size_t vectors, std::int8_t* codes,
                                                              std::int8_t* wide) {
  const F32 shift = F32::set(kRoundingShift), one = F32::set(1), zero = F32::set(0), most = F32::set(kLargestCode),
            part = F32::set(1.0f / 128.0f), parts = F32::set(-128.0f);
  std::uint32_t quads = 0;
  for (std::size_t i = 0; i < vectors; ++i) {
    const F32 is_wide = min(max(sub(absolute(whole[i]), most), zero), one);
    const F32 high = sub(add(mul(mul(whole[i], part), is_wide), shift), shift);
    store_low_bytes(add(high, shift), wide + 16 * i);
    store_low_bytes(add(fma(high, parts, whole[i]), shift), codes + 16 * i);
    for (std::size_t q = 0; q < 4; ++q) {
      std::uint32_t bits;
      __builtin_memcpy(&bits, wide + 16 * i + 4 * q, 4);
      quads |= (bits != 0 ? 1u : 0u) << (4 * i + q);
    }
  }
  return quads;
}

// One run: `count` numbers of it are there.
template <class F32>
[[gnu::always_inline]] static inline float quantize_run(const float* x, std::size_t count,
                                                        const ActivationRounding& rounding, std::int8_t* codes,
                                                        std::int8_t* wide, std::uint32_t& quads, GroupSums<F32>& sums) {
  const std::size_t vectors = rounding.run / 16;
  const F32 shift = F32::set(kRoundingShift), zero = F32::set(0);
  F32 values[kRunVectors], largest = zero, magnitudes = zero;
  for (std::size_t i = 0; i < vectors; ++i) {
    const std::size_t at = 16 * i;
    values[i] = at + 16 <= count ? F32::load(x + at) : at < count ? F32::load_part(x + at, count - at) : zero;
    largest = max(largest, absolute(values[i]));
    magnitudes = add(magnitudes, absolute(values[i]));
  }
  const float top = max_lanes(largest);
  const bool nothing = !(top > kSmallestTop);
  const float limit = nothing ? 1.0f : limit_of(values, vectors, count, top, sum_lanes(magnitudes), rounding.wide);
  const F32 inverse = F32::set(nothing ? 0.0f : kLargestCode / limit);
  for (std::size_t i = 0; i < vectors; ++i) {
    values[i] = sub(add(mul(values[i], inverse), shift), shift);
    sums.put(sum_lanes(values[i]));
  }
  if (limit < top) {
    quads = split_wide(values, vectors, codes, wide);
  } else {
    quads = 0;
    for (std::size_t i = 0; i < vectors; ++i) {
      store_low_bytes(add(values[i], shift), codes + 16 * i);
      store_low_bytes(shift, wide + 16 * i);
    }
  }
  return nothing ? 0.0f : limit / kLargestCode;
}

template <class F32>
static void quantize_activations(const float* x, std::size_t count, const ActivationRounding& rounding,
                                 const ActivationTarget& out) {
  GroupSums<F32> sums(rounding, out);
  std::uint64_t wide_quads = 0;
  for (std::size_t start = 0, run = 0; start < kBlockDepth; start += rounding.run, ++run) {
    const std::size_t n = count <= start ? 0 : count - start < rounding.run ? count - start : rounding.run;
    std::uint32_t quads;
    out.scales[run] = quantize_run<F32>(x + start, n, rounding, out.codes + start, out.wide + start, quads, sums);
    wide_quads |= static_cast<std::uint64_t>(quads) << (start / 4);
  }
  *out.wide_quads = wide_quads;
}

// Columns beyond count have code 0, not the zero point: they are not there, and their weights are anything. None is
// wide.
template <class F32>
static void quantize_on_grid(const ActivationScale& grid, const float* x, std::size_t count,
                             const ActivationRounding& rounding, const ActivationTarget& out) {
  const F32 shift = F32::set(kRoundingShift), inverse = F32::set(grid.inverse), zero = F32::set(grid.zero);
  const F32 lowest = F32::set(-128.0f - grid.zero), highest = F32::set(127.0f - grid.zero);
  float zeros[16];
  for (float& z : zeros) z = grid.zero;
  GroupSums<F32> sums(rounding, out);
  for (std::size_t start = 0; start < kBlockDepth; start += rounding.run)
    out.scales[start / rounding.run] = count <= start ? 0.0f : grid.scale;
  for (std::size_t at = 0; at < kBlockDepth; at += 16) {
    const F32 value = at + 16 <= count ? F32::load(x + at)
                      : at < count     ? F32::load_part(x + at, count - at)
                                       : F32::set(0);
    const F32 offset = at + 16 <= count ? zero : at < count ? F32::load_part(zeros, count - at) : F32::set(0);
    const F32 rounded = add(add(min(max(mul(value, inverse), lowest), highest), shift), offset);
    sums.put(store_codes(rounded, shift, out.codes + at));
    store_low_bytes(shift, out.wide + at);
  }
  *out.wide_quads = 0;
}

// The smallest and the largest of the numbers and 0.
template <class F32>
static void find_range(const float* x, std::size_t count, float* out) {
  F32 low = F32::set(0), high = F32::set(0);
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 value = i + 16 <= count ? F32::load(x + i) : F32::load_part(x + i, count - i);
    low = min(low, value);
    high = max(high, value);
  }
  out[0] = 0.0f - max_lanes(sub(F32::set(0), low));
  out[1] = max_lanes(high);
}

}  // namespace nibble::lanes
