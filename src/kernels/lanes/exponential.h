// SPDX-License-Identifier: Apache-2.0
//
// e^x, defined to the bit: n = round(x / ln 2) to even, r = x - n ln 2 in two steps (Cody and Waite 1980), the polynomial of Cephes'
// expf on r, times 2^n. Relative error below 2^-23. Below -87.33 the result is +0, above 88.37 it stays at e^88.37.
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

}  // namespace nibble::lanes
