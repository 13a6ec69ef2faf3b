// SPDX-License-Identifier: Apache-2.0
//
// What stands between convolutions (convolution/convolution.h), once for all instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/convolution/convolution.h"
#include "kernels/lanes/convolution_tiles.h"
#include "kernels/lanes/exponential.h"

namespace nibble::lanes {

template <class F32>
static void pool_floats(const PooledPlace& place, const float* x, float* y) {
  const F32 divisor = F32::set(place.divisor);
  for (std::size_t c = 0; c < place.channels; c += 16) {
    const std::size_t count = place.channels - c;
    const auto load = [&](const float* p) { return count < 16 ? F32::load_part(p, count) : F32::load(p); };
    F32 all = F32::set(place.divisor == 0 ? -__builtin_inff() : 0);
    for (std::size_t row = 0; row < place.rows; ++row)
      for (std::size_t col = 0; col < place.cols; ++col) {
        const F32 one = load(x + (static_cast<std::ptrdiff_t>(row) * place.row_step +
                                  static_cast<std::ptrdiff_t>(col) * place.col_step + static_cast<std::ptrdiff_t>(c)));
        all = place.divisor == 0 ? max(one, all) : add(all, one);
      }
    if (place.divisor != 0) all = div(all, divisor);
    if (count < 16)
      all.store_part(y + c, count);
    else
      all.store(y + c);
  }
}

template <class F32>
static void pool_codes(const PooledPlace& place, const std::uint8_t* x, std::uint8_t* y) {
  for (std::size_t c = 0; c < place.channels; c += 16) {
    F32 all = F32::set(0);
    for (std::size_t row = 0; row < place.rows; ++row)
      for (std::size_t col = 0; col < place.cols; ++col)
        all = max(all, F32::load_u8(x + (static_cast<std::ptrdiff_t>(row) * place.row_step +
                                         static_cast<std::ptrdiff_t>(col) * place.col_step +
                                         static_cast<std::ptrdiff_t>(c))));
    store_codes(all, 0, y + c, place.channels - c);
  }
}

// y where x is a number, else what is none. (Exponentials of that are 0.)
template <class F32>
[[gnu::always_inline]] static inline F32 or_not_a_number(F32 y, F32 x) {
  return add(y, mul(clipped(x, F32::set(-1), F32::set(1)), F32::set(0)));
}

// 1 - 2 / (1 + e^(2x)), and near 0, where that cancels, the polynomial of Cephes' tanhf. Odd. Absolute error below
// 2^-22.
template <class F32>
[[gnu::always_inline]] static inline F32 hyperbolic_tangent(F32 x) {
  const F32 zero = F32::set(0), one = F32::set(1), negative = sub(zero, x), size = max(negative, x);
  const F32 apart = sub(one, div(F32::set(2), add(exponential(add(size, size)), one)));
  const F32 far = sub(keep_where_at_least(apart, x, zero), keep_where_at_least(apart, negative, zero));
  const F32 z = mul(x, x);
  F32 p = F32::set(-5.70498872745e-3f);
  p = fma(p, z, F32::set(2.06390887954e-2f));
  p = fma(p, z, F32::set(-5.37397155531e-2f));
  p = fma(p, z, F32::set(1.33314422036e-1f));
  p = fma(p, z, F32::set(-3.33332819422e-1f));
  const F32 near = fma(mul(p, z), x, x);
  return add(keep_where_at_least(far, size, F32::set(0.625f)),
             keep_where_at_least(near, sub(zero, size), F32::set(-0.62499994f)));
}

template <class F32>
[[gnu::always_inline]] static inline F32 point(PointFunction function, F32 x, F32 a, F32 b) {
  const F32 zero = F32::set(0), one = F32::set(1);
  switch (function) {
    case PointFunction::clip:
      return clipped(x, a, b);
    case PointFunction::leaky_relu:
      return add(max(zero, x), mul(a, min(zero, x)));
    case PointFunction::hard_sigmoid:
      return clipped(fma(a, x, b), zero, one);
    case PointFunction::hard_swish:
      return mul(x, clipped(fma(x, F32::set(1.0f / 6), F32::set(0.5f)), zero, one));
    case PointFunction::sigmoid:
      return or_not_a_number(div(one, add(exponential(sub(zero, x)), one)), x);
    case PointFunction::silu:
      return div(x, add(exponential(sub(zero, x)), one));
    case PointFunction::tanh:
      return or_not_a_number(hyperbolic_tangent(x), x);
    case PointFunction::exponential:
      return or_not_a_number(exponential(x), x);
    case PointFunction::reciprocal:
      return div(one, x);
    case PointFunction::negative:
      return sub(zero, x);
    case PointFunction::absolute:
      return absolute(x);
  }
  return x;
}

template <class F32, PointFunction function>
static void apply_one(float a, float b, const float* x, std::size_t count, float* y) {
  const F32 first = F32::set(a), second = F32::set(b);
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) point(function, F32::load(x + i), first, second).store(y + i);
  if (i < count) point(function, F32::load_part(x + i, count - i), first, second).store_part(y + i, count - i);
}

template <class F32>
static void apply(PointFunction function, float a, float b, const float* x, std::size_t count, float* y) {
  switch (function) {
    case PointFunction::clip:
      return apply_one<F32, PointFunction::clip>(a, b, x, count, y);
    case PointFunction::leaky_relu:
      return apply_one<F32, PointFunction::leaky_relu>(a, b, x, count, y);
    case PointFunction::hard_sigmoid:
      return apply_one<F32, PointFunction::hard_sigmoid>(a, b, x, count, y);
    case PointFunction::hard_swish:
      return apply_one<F32, PointFunction::hard_swish>(a, b, x, count, y);
    case PointFunction::sigmoid:
      return apply_one<F32, PointFunction::sigmoid>(a, b, x, count, y);
    case PointFunction::silu:
      return apply_one<F32, PointFunction::silu>(a, b, x, count, y);
    case PointFunction::tanh:
      return apply_one<F32, PointFunction::tanh>(a, b, x, count, y);
    case PointFunction::exponential:
      return apply_one<F32, PointFunction::exponential>(a, b, x, count, y);
    case PointFunction::reciprocal:
      return apply_one<F32, PointFunction::reciprocal>(a, b, x, count, y);
    case PointFunction::negative:
      return apply_one<F32, PointFunction::negative>(a, b, x, count, y);
    case PointFunction::absolute:
      return apply_one<F32, PointFunction::absolute>(a, b, x, count, y);
  }
}

template <class F32, PairFunction function>
[[gnu::always_inline]] static inline F32 pair(F32 a, F32 b) {
  if constexpr (function == PairFunction::add) return add(a, b);
  if constexpr (function == PairFunction::subtract) return sub(a, b);
  if constexpr (function == PairFunction::multiply) return mul(a, b);
  if constexpr (function == PairFunction::divide) return div(a, b);
  if constexpr (function == PairFunction::minimum) return min(a, b);
  if constexpr (function == PairFunction::maximum) return max(a, b);
}

template <class F32, PairFunction function>
static void combine_one(const float* a, std::size_t a_step, const float* b, std::size_t b_step, std::size_t count,
                        float* y) {
  const auto load = [](const float* p, std::size_t step, std::size_t i, std::size_t left) {
    if (step == 0) return F32::set(*p);
    return left < 16 ? F32::load_part(p + i, left) : F32::load(p + i);
  };
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) pair<F32, function>(load(a, a_step, i, 16), load(b, b_step, i, 16)).store(y + i);
  if (i < count)
    pair<F32, function>(load(a, a_step, i, count - i), load(b, b_step, i, count - i)).store_part(y + i, count - i);
}

template <class F32>
static void combine(PairFunction function, const float* a, std::size_t a_step, const float* b, std::size_t b_step,
                    std::size_t count, float* y) {
  switch (function) {
    case PairFunction::add:
      return combine_one<F32, PairFunction::add>(a, a_step, b, b_step, count, y);
    case PairFunction::subtract:
      return combine_one<F32, PairFunction::subtract>(a, a_step, b, b_step, count, y);
    case PairFunction::multiply:
      return combine_one<F32, PairFunction::multiply>(a, a_step, b, b_step, count, y);
    case PairFunction::divide:
      return combine_one<F32, PairFunction::divide>(a, a_step, b, b_step, count, y);
    case PairFunction::minimum:
      return combine_one<F32, PairFunction::minimum>(a, a_step, b, b_step, count, y);
    case PairFunction::maximum:
      return combine_one<F32, PairFunction::maximum>(a, a_step, b, b_step, count, y);
  }
}

// --- codes
// -------------------------------------------------------------------------------------------------------------

template <class F32>
static void widen_codes(const std::uint8_t* codes, std::size_t count, const CodeScale& scale, float* y) {
  const F32 factor = F32::set(scale.scale), zero = F32::set(scale.zero);
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) mul(sub(F32::load_u8(codes + i), zero), factor).store(y + i);
  if (i < count) mul(sub(F32::load_u8(codes + i), zero), factor).store_part(y + i, count - i);
}

// What is not a number is not at least anything, and becomes 0.
template <class F32>
[[gnu::always_inline]] static inline F32 clipped_steps(F32 steps, F32 low, F32 high) {
  return clipped(keep_where_at_least(steps, steps, F32::set(-__builtin_inff())), low, high);
}

template <class F32>
static void narrow_codes(const float* x, std::size_t count, const CodeScale& scale, float low, float high,
                         std::uint8_t* codes) {
  const F32 divisor = F32::set(scale.scale), least = F32::set(low), most = F32::set(high);
  const auto zero = static_cast<std::int32_t>(scale.zero);
  const auto convert = [&](auto steps) {
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16)
      store_codes(clipped_steps(steps(F32::load(x + i)), least, most), zero, codes + i, 16);
    if (i < count)
      store_codes(clipped_steps(steps(F32::load_part(x + i, count - i)), least, most), zero, codes + i, count - i);
  };
  if (scale.scale == 1)
    convert([](F32 number) { return number; });
  else
    convert([&](F32 number) { return div(number, divisor); });
}

template <class F32>
static void add_codes(const std::uint8_t* a, const CodeScale& a_scale, const std::uint8_t* b, const CodeScale& b_scale,
                      std::size_t count, const CodeScale& y_scale, float low, float high, std::uint8_t* y) {
  const F32 a_factor = F32::set(a_scale.scale), a_zero = F32::set(a_scale.zero), b_factor = F32::set(b_scale.scale),
            b_zero = F32::set(b_scale.zero), divisor = F32::set(y_scale.scale), least = F32::set(low),
            most = F32::set(high);
  const auto zero = static_cast<std::int32_t>(y_scale.zero);
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 sum =
        add(mul(sub(F32::load_u8(a + i), a_zero), a_factor), mul(sub(F32::load_u8(b + i), b_zero), b_factor));
    store_codes(clipped(div(sum, divisor), least, most), zero, y + i, count - i);
  }
}

// Of floats (F) and codes (C): W: blocks of outputs at a time; 1, 2, 4: places of tiles of so many blocks. CM: places
// of channels by themselves.
template <class F32, class Bytes, class Sums, class UnsignedQuad, int FW, int F1, int F2, int F4, int CW, int C1,
          int C2, int C4, int CM>
inline constexpr ConvolutionLoops kLoops = {
    .float_places = {F1, F2, F4},
    .code_places = {C1, C2, C4},
    .convolve = convolve<F32, FW, F1, F2, F4>,
    .convolve_codes = convolve_codes<F32, Bytes, Sums, UnsignedQuad, CW, C1, C2, C4>,
    .convolve_channels = convolve_channels_apart<F32, Sums, CM, FloatChannels>,
    .convolve_code_channels = convolve_channels_apart<F32, Sums, CM, CodeChannels>,
    .pool = pool_floats<F32>,
    .pool_codes = pool_codes<F32>,
    .apply = apply<F32>,
    .combine = combine<F32>,
    .widen = widen_codes<F32>,
    .narrow = narrow_codes<F32>,
    .add_codes = add_codes<F32>};

}  // namespace nibble::lanes
