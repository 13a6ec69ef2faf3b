// SPDX-License-Identifier: Apache-2.0
//
// e^x, defined to the bit: n = round(x / ln 2) to even, r = x - n ln 2 in two steps (Cody and Waite 1980), the
// polynomial of Cephes' expf on r, times 2^n. Relative error below 2^-23. Below -87.33 the result is +0, above 88.37 it
// stays at e^88.37.
#pragma once

namespace nibble::lanes {

template <class F32>
[[gnu::always_inline]] static inline F32 exponential(F32 x) {
  const F32 lowest = F32::set(-87.33654f), shift = F32::set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const F32 bounded = max(min(x, F32::set(88.3762626647949f)), lowest);
  const F32 shifted = add(mul(bounded, F32::set(1.44269504088896341f)), shift);
  const F32 n = sub(shifted, shift);
  F32 r = fma(n, F32::set(-0.693359375f), bounded);
  r = fma(n, F32::set(2.12194440e-4f), r);
  F32 p = F32::set(1.9875691500e-4f);
  p = fma(p, r, F32::set(1.3981999507e-3f));
  p = fma(p, r, F32::set(8.3334519073e-3f));
  p = fma(p, r, F32::set(4.1665795894e-2f));
  p = fma(p, r, F32::set(1.6666665459e-1f));
  p = fma(p, r, F32::set(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), F32::set(1.0f));
  return keep_where_at_least(mul(p, power_of_two_from_shifted(shifted)), x, lowest);
}

// 2^x for x <= 0: n = round(x) to even, 2^(x - n) by the polynomial of degree 6 that has the value 1 at 0 and is
// otherwise 2^r at Chebyshev's points. Relative error below 2^-22; exactly 1 at 0; at -126 and below 2^-126.
template <class F32>
[[gnu::always_inline]] static inline F32 power_of_two(F32 x) {
  const F32 shift = F32::set(12582912.0f), bounded = max(x, F32::set(-126.0f));
  const F32 shifted = add(bounded, shift), r = sub(bounded, sub(shifted, shift));
  F32 p = F32::set(1.54531634e-4f);
  p = fma(p, r, F32::set(1.33908633e-3f));
  p = fma(p, r, F32::set(9.61808302e-3f));
  p = fma(p, r, F32::set(5.55035695e-2f));
  p = fma(p, r, F32::set(2.40226507e-1f));
  p = fma(p, r, F32::set(6.93147182e-1f));
  p = fma(p, r, F32::set(1.0f));
  return mul(p, power_of_two_from_shifted(shifted));
}

// e^x in f64 for x <= 0, where sums over a vocabulary must not lose what models differ by: Taylor's polynomial of
// degree 11, relative error below 1e-14. Below -708 the result stays at e^-708; NaN stays NaN.
template <class F64>
[[gnu::always_inline]] static inline F64 exponential_f64(F64 x) {
  constexpr double kCoefficients[] = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
                                      1.0 / 120,      1.0 / 24,      1.0 / 6,      1.0 / 2,     1.0,        1.0};
  const F64 shift = F64::set(6755399441055744.0);  // 1.5 * 2^52
  const F64 bounded = max(F64::set(-708.0), x);
  const F64 shifted = add(mul(bounded, F64::set(1.4426950408889634)), shift);
  const F64 n = sub(shifted, shift);
  F64 r = fma(n, F64::set(-0.693147180369123816490), bounded);
  r = fma(n, F64::set(-1.90821492927058770002e-10), r);
  F64 p = F64::set(kCoefficients[0]);
  for (int i = 1; i < 12; ++i) p = fma(p, r, F64::set(kCoefficients[i]));
  return mul(p, power_of_two_from_shifted(shifted));
}

}  // namespace nibble::lanes
