// SPDX-License-Identifier: Apache-2.0
//
// Quantization of activations to int8: with a scale of its own for every 128 columns of a token, or on a grid that is given.
#pragma once

#include "kernels/integer_shape.h"

namespace nibble::lanes {

// Stores the codes of 16 columns, which stand in the lowest bytes of `shifted`, and returns their sum: exact, as they are small integers.
template <class F32>
[[gnu::always_inline]] static inline float store_codes(F32 shifted, F32 shift, std::int8_t* codes) {
  store_low_bytes(shifted, codes);
  return sum_lanes(sub(shifted, shift));
}

// Sums of codes over groups, as products read them. (A template, so that its functions are the set's own.)
template <class F32>
class GroupSums {
 public:
  GroupSums(std::int32_t middle, std::int32_t* biases, float* sums, std::int8_t* sum_codes)
      : middle_(middle), biases_(biases), sums_(sums), sum_codes_(sum_codes) {
    for (std::size_t i = 0; i < kSumCodes; ++i) sum_codes[i] = 0;
  }
  void start_run(std::size_t run) {
    run_ = sum_codes_ + run * (kSumCodes / 2);
    in_run_ = 0;
  }
  void put(float sum) {
    sums_[group_] = sum;
    const std::int32_t whole = static_cast<std::int32_t>(sum);
    biases_[group_++] = -middle_ * whole;
    std::int8_t* const parts = run_ + in_run_++;
    parts[0] = static_cast<std::int8_t>(whole & 63);
    parts[8] = static_cast<std::int8_t>(whole >> 6);  // |whole| <= 128 * 32 where anybody asks
  }

 private:
  std::int32_t middle_;
  std::int32_t* biases_;
  float* sums_;
  std::int8_t *sum_codes_, *run_ = nullptr;
  std::size_t group_ = 0, in_run_ = 0;
};

// Adding it rounds to an integer, whose two's complement is then the lowest byte.
static constexpr float kRoundingShift = 12582912.0f;  // 1.5 * 2^23

template <class F32>
static void quantize_activations(const float* x, std::size_t count, std::size_t group, std::int32_t middle, std::int8_t* codes, float* scales,
                                 std::int32_t* biases, float* sums, std::int8_t* sum_codes) {
  const F32 shift = F32::set(kRoundingShift);
  GroupSums<F32> group_sums(middle, biases, sums, sum_codes);
  for (std::size_t start = 0; start < kBlockDepth; start += kActivationDepth) {
    const std::size_t n = count <= start ? 0 : count - start < kActivationDepth ? count - start : kActivationDepth;
    F32 values[kActivationDepth / 16], largest = F32::set(0);
    for (std::size_t i = 0; i < kActivationDepth / 16; ++i) {
      const std::size_t at = 16 * i;
      values[i] = at + 16 <= n ? F32::load(x + start + at) : at < n ? F32::load_part(x + start + at, n - at) : F32::set(0);
      largest = max(largest, absolute(values[i]));
    }
    const float top = max_lanes(largest);
    const bool nothing = !(top > 1e-35f);  // smaller would overflow the inverse
    scales[start / kActivationDepth] = nothing ? 0.0f : top / 127.0f;
    const F32 inverse = F32::set(nothing ? 0.0f : 127.0f / top);
    group_sums.start_run(start / kActivationDepth);
    float sum = 0;
    for (std::size_t i = 0; i < kActivationDepth / 16; ++i) {
      sum += store_codes(add(mul(values[i], inverse), shift), shift, codes + start + 16 * i);
      if ((16 * i + 16) % group != 0 && i + 1 != kActivationDepth / 16) continue;
      group_sums.put(sum);
      sum = 0;
    }
  }
}

// Columns beyond count have code 0, not the zero point: they are not there, and their weights are anything.
template <class F32>
static void quantize_on_grid(const ActivationScale& grid, const float* x, std::size_t count, std::size_t group, std::int32_t middle,
                             std::int8_t* codes, float* scales, std::int32_t* biases, float* sums, std::int8_t* sum_codes) {
  const F32 shift = F32::set(kRoundingShift), inverse = F32::set(grid.inverse), zero = F32::set(grid.zero);
  const F32 lowest = F32::set(-128.0f - grid.zero), highest = F32::set(127.0f - grid.zero);
  float zeros[16];
  for (float& z : zeros) z = grid.zero;
  GroupSums<F32> group_sums(middle, biases, sums, sum_codes);
  for (std::size_t start = 0; start < kBlockDepth; start += kActivationDepth) {
    const std::size_t n = count <= start ? 0 : count - start < kActivationDepth ? count - start : kActivationDepth;
    scales[start / kActivationDepth] = n == 0 ? 0.0f : grid.scale;
    group_sums.start_run(start / kActivationDepth);
    float sum = 0;
    for (std::size_t i = 0; i < kActivationDepth / 16; ++i) {
      const std::size_t at = 16 * i;
      const F32 value = at + 16 <= n ? F32::load(x + start + at) : at < n ? F32::load_part(x + start + at, n - at) : F32::set(0);
      const F32 offset = at + 16 <= n ? zero : at < n ? F32::load_part(zeros, n - at) : F32::set(0);
      const F32 rounded = add(min(max(mul(value, inverse), lowest), highest), shift);
      sum += store_codes(add(rounded, offset), shift, codes + start + at);
      if ((at + 16) % group != 0 && i + 1 != kActivationDepth / 16) continue;
      group_sums.put(sum);
      sum = 0;
    }
  }
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
