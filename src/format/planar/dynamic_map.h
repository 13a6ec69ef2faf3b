// SPDX-License-Identifier: Apache-2.0
//
// The 8-bit dynamic map of bitsandbytes (Dettmers, "8-Bit Approximations for Parallelism in Deep Learning", 2015), in
// which doubly quantized scales are stored: seven decades below 1, each of twice as many evenly spaced points as the
// one before, both signs, 0 and 1.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace nibble {

// What is greater than 0, ascending. The last, 1, has no negative counterpart.
inline constexpr std::array<float, 128> kDynamicMagnitudes = {
    0.00000055000004F, 0.0000032500002F, 0.00000775F,    0.000021249998F, 0.00004375F,
    0.00006625F,       0.00008875F,      0.00015625001F, 0.00026875004F,  0.00038125002F,
    0.00049375003F,    0.0006062501F,    0.00071875006F, 0.00083125F,     0.0009437501F,
    0.0012812499F,     0.00184375F,      0.00240625F,    0.00296875F,     0.0035312497F,
    0.00409375F,       0.0046562497F,    0.0052187503F,  0.00578125F,     0.00634375F,
    0.00690625F,       0.00746875F,      0.00803125F,    0.00859375F,     0.009156249F,
    0.00971875F,       0.01140625F,      0.01421875F,    0.01703125F,     0.019843752F,
    0.02265625F,       0.02546875F,      0.028281251F,   0.03109375F,     0.03390625F,
    0.036718752F,      0.03953125F,      0.042343747F,   0.04515625F,     0.04796875F,
    0.05078125F,       0.05359375F,      0.05640625F,    0.059218753F,    0.06203125F,
    0.06484375F,       0.067656256F,     0.070468746F,   0.07328125F,     0.07609375F,
    0.07890625F,       0.08171876F,      0.08453125F,    0.08734375F,     0.09015625F,
    0.092968754F,      0.09578126F,      0.09859375F,    0.107031256F,    0.12109375F,
    0.13515624F,       0.14921875F,      0.16328125F,    0.17734376F,     0.19140625F,
    0.20546874F,       0.21953125F,      0.23359375F,    0.24765624F,     0.26171875F,
    0.27578127F,       0.28984374F,      0.30390626F,    0.31796873F,     0.33203125F,
    0.34609374F,       0.36015624F,      0.37421876F,    0.38828123F,     0.40234375F,
    0.41640624F,       0.43046874F,      0.44453126F,    0.45859373F,     0.47265625F,
    0.4867187F,        0.50078124F,      0.5148437F,     0.5289062F,      0.54296875F,
    0.5570313F,        0.5710938F,       0.58515626F,    0.5992187F,      0.61328125F,
    0.6273438F,        0.6414063F,       0.65546876F,    0.6695312F,      0.68359375F,
    0.6976563F,        0.7117188F,       0.72578126F,    0.7398437F,      0.75390625F,
    0.7679688F,        0.78203124F,      0.79609376F,    0.8101562F,      0.82421875F,
    0.8382813F,        0.85234374F,      0.86640626F,    0.8804687F,      0.89453125F,
    0.9085938F,        0.92265624F,      0.93671876F,    0.9507812F,      0.96484375F,
    0.9789063F,        0.99296874F,      1.0F,
};

// By code 0 .. 255, ascending.
constexpr float dynamic_value(std::uint8_t code) {
  return code < 127 ? -kDynamicMagnitudes[126u - code] : code == 127 ? 0.0F : kDynamicMagnitudes[code - 128u];
}

inline constexpr auto kDynamicMap = [] {
  std::array<float, 256> map{};
  for (std::size_t code = 0; code < map.size(); ++code) map[code] = dynamic_value(static_cast<std::uint8_t>(code));
  return map;
}();

// The code of the nearest value; the lower one half way.
inline std::uint8_t nearest_dynamic(float x) {
  const auto above =
      static_cast<std::size_t>(std::lower_bound(kDynamicMap.begin(), kDynamicMap.end(), x) - kDynamicMap.begin());
  if (above == 0) return 0;
  if (above == kDynamicMap.size()) return 255;
  return static_cast<std::uint8_t>(x - kDynamicMap[above - 1] <= kDynamicMap[above] - x ? above - 1 : above);
}

}  // namespace nibble
