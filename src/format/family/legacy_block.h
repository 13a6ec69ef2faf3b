// SPDX-License-Identifier: Apache-2.0
//
// What Q4_0, Q5_0 and Q4_1, Q5_1 of ggml have in common: 32 integers of 4 or 5 bits on x = d * (q - middle), or on x =
// d * q + m, with half-precision d and m. Their reference divides by the scale before it is rounded to half precision
// and truncates after adding one half; FitRule::absmax and FitRule::minmax (the same thing here) give its bytes
// exactly. FitRule::search is never worse.
//
// FitRule::automatic searches when an importance is given and follows the reference otherwise.
#pragma once

#include <algorithm>
#include <cmath>

#include "format/block_format.h"
#include "format/common_step.h"
#include "format/family/nibble_block.h"
#include "format/scale.h"
#include "format/scale_search.h"

namespace nibble {

inline bool wants_search(const FitOptions& options, const float* importance) {
  return options.rule == FitRule::search || (options.rule == FitRule::automatic && importance != nullptr);
}

// x = d * (q - middle), q in [0, 2 * middle). Block has d and qs, and qh for 5 bits.
template <class BlockT, int kBits>
struct SymmetricLegacy {
  using Block = BlockT;
  static constexpr int kMiddle = 1 << (kBits - 1);
  struct Grid {
    float d;
  };

  static void fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                  Grid& grid) {
    if (options.rule == FitRule::exact)
      if (grid.d =
              find_common_step({x, 32}, -kMiddle, kMiddle - 1, [](float s) { return f16_to_f32(to_f16_saturated(s)); });
          grid.d != 0)
        return;
    if (wants_search(options, importance)) {
      constexpr float kLow = -kMiddle, kHigh = kMiddle - 1;
      // From half a code inside the end to a code and a half outside it.
      grid.d = search_points(x, importance, 32, {.low = kLow, .high = kHigh, .zero = kMiddle},
                             {kLow, kHigh, 1 + 0.5f / kLow, 1 - 1.5f / kLow, 20}, loops);
    } else {
      grid.d = f16_to_f32(to_f16_saturated(find_peak(x, 32).value / -kMiddle));
    }
  }

  static Code nearest(const Grid& grid, std::size_t, const float* target, const float*) {
    if (grid.d == 0) return kMiddle;
    return static_cast<Code>(std::clamp(*target / grid.d + (kMiddle + 0.5f), 0.0f, 2.0f * kMiddle - 1));
  }

  static void value(const Grid& grid, std::size_t, Code code, float* out) {
    *out = static_cast<float>(static_cast<int>(code) - kMiddle) * grid.d;
  }

  template <class T>
  static void pack_codes(const T* codes, Block& block) {
    pack_nibbles(codes, block.qs);
    if constexpr (kBits == 5) pack_fifth_bits(codes, block.qh);
  }
  template <class T>
  static void unpack_codes(const Block& block, T* codes) {
    unpack_nibbles(block.qs, codes);
    if constexpr (kBits == 5) unpack_fifth_bits(block.qh, codes);
  }

  static void pack(const Grid& grid, const Code* codes, Block& block) {
    block.d = f32_to_f16(grid.d);
    pack_codes(codes, block);
  }
  static void unpack(const Block& block, Grid& grid, Code* codes) {
    grid.d = f16_to_f32(block.d);
    unpack_codes(block, codes);
  }

  static void encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                     Block& block) {
    float d;
    if (wants_search(options, importance)) {
      Grid grid;
      fit(x, importance, options, loops, grid);
      d = grid.d;
    } else {
      d = find_peak(x, 32).value / -kMiddle;
    }
    const float inverse = std::fabs(d) >= kMinNormal ? 1.0f / d : 0.0f;
    block.d = to_f16_saturated(d);
    std::uint32_t codes[32];
    for (int i = 0; i < 32; ++i)
      codes[i] = static_cast<std::uint32_t>(
          static_cast<int>(clamp_float(x[i] * inverse + (kMiddle + 0.5f), 0.0f, 2.0f * kMiddle - 1)));
    pack_codes(codes, block);
  }

  static void decode(const Block& block, float* out) {
    const float d = f16_to_f32(block.d);
    std::uint32_t codes[32];
    unpack_codes(block, codes);
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int>(codes[i]) - kMiddle) * d;
  }

  static std::optional<std::string> find_defect(const Block& block) {
    if (!f16_is_finite(block.d)) return "the scale is not finite";
    return std::nullopt;
  }
};

// x = d * q + m, q in [0, 2^bits). Block has d, m and qs, and qh for 5 bits.
template <class BlockT, int kBits>
struct AffineLegacy {
  using Block = BlockT;
  static constexpr int kMaxCode = (1 << kBits) - 1;
  struct Grid {
    float d, m;
  };

  static Grid range_grid(const float* x) {
    const auto [min, max] = std::minmax_element(x, x + 32);
    return {(*max - *min) / kMaxCode, *min};
  }

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
    if (options.rule == FitRule::exact)
      if (const auto steps =
              find_common_steps({x, 32}, kMaxCode, [](float s) { return f16_to_f32(to_f16_saturated(s)); })) {
        grid = {steps->size, steps->offset};
        return;
      }
    if (wants_search(options, importance)) {
      const AffineGrid found = search_affine(x, importance, 32, kMaxCode);
      grid = {found.d, found.m};
    } else {
      grid = range_grid(x);
      grid = {f16_to_f32(to_f16_saturated(grid.d)), f16_to_f32(to_f16_saturated(grid.m))};
    }
  }

  static Code nearest(const Grid& grid, std::size_t, const float* target, const float*) {
    if (grid.d == 0) return 0;
    return static_cast<Code>(std::clamp((*target - grid.m) / grid.d + 0.5f, 0.0f, static_cast<float>(kMaxCode)));
  }

  static void value(const Grid& grid, std::size_t, Code code, float* out) {
    *out = static_cast<float>(code) * grid.d + grid.m;
  }

  template <class T>
  static void pack_codes(const T* codes, Block& block) {
    pack_nibbles(codes, block.qs);
    if constexpr (kBits == 5) pack_fifth_bits(codes, block.qh);
  }
  template <class T>
  static void unpack_codes(const Block& block, T* codes) {
    unpack_nibbles(block.qs, codes);
    if constexpr (kBits == 5) unpack_fifth_bits(block.qh, codes);
  }

  static void pack(const Grid& grid, const Code* codes, Block& block) {
    block.d = f32_to_f16(grid.d);
    block.m = f32_to_f16(grid.m);
    pack_codes(codes, block);
  }
  static void unpack(const Block& block, Grid& grid, Code* codes) {
    grid = {f16_to_f32(block.d), f16_to_f32(block.m)};
    unpack_codes(block, codes);
  }

  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
    Grid grid;
    if (wants_search(options, importance)) {
      fit(x, importance, options, grid);
    } else {
      grid = range_grid(x);
    }
    const float inverse = std::fabs(grid.d) >= kMinNormal ? 1.0f / grid.d : 0.0f;
    block.d = to_f16_saturated(grid.d);
    block.m = to_f16_saturated(grid.m);
    std::uint32_t codes[32];
    for (int i = 0; i < 32; ++i)
      codes[i] = static_cast<std::uint32_t>(
          static_cast<int>(clamp_float((x[i] - grid.m) * inverse + 0.5f, 0.0f, static_cast<float>(kMaxCode))));
    pack_codes(codes, block);
  }

  static void decode(const Block& block, float* out) {
    const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
    std::uint32_t codes[32];
    unpack_codes(block, codes);
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int>(codes[i])) * d + m;
  }

  static std::optional<std::string> find_defect(const Block& block) {
    if (!f16_is_finite(block.d)) return "the scale is not finite";
    if (!f16_is_finite(block.m)) return "the offset is not finite";
    return std::nullopt;
  }
};

}  // namespace nibble
