// SPDX-License-Identifier: Apache-2.0
#include "format/block_nvfp4.h"

#include <cmath>

#include "format/e2m1_block.h"
#include "format/scale_search.h"

namespace nibble {

namespace {

constexpr std::uint8_t kMaxScaleCode = 0x7e;  // 448
constexpr std::size_t kSub = 16;

// Half the value of an unsigned E4M3 code.
float half_scale_of(std::uint8_t code) {
  if (code == 0 || code == 0x7f) return 0;
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -10) : std::ldexp(static_cast<float>(8 + mantissa), exponent - 11);
}

// The E4M3 code of a scale as the reference rounds: halves up; what lies between the subnormals and the first normal number goes to the
// subnormal; from 256 on the largest code, 448.
std::uint8_t plain_scale_code(float scale) {
  constexpr int kFirstExponent = -6, kLastExponent = 7;
  if (!(scale > 0)) return 0;
  if (scale < 0x1p-6f) return static_cast<std::uint8_t>(std::min(7, static_cast<int>(std::ldexp(scale, 9) + 0.5f)));
  const int exponent = std::ilogb(scale);
  if (exponent > kLastExponent) return kMaxScaleCode;
  // Steps of an eighth of the power of two, 8 .. 16; 16 is the next power.
  const int steps = static_cast<int>(std::ldexp(scale, 3 - exponent) + 0.5f);
  if (steps == 16 && exponent == kLastExponent) return kMaxScaleCode;
  return static_cast<std::uint8_t>((exponent - kFirstExponent) * 8 + steps);
}

Code code_of(float x, float d) { return d > 0 ? nearest_doubled_e2m1(x / d) : 0; }

float error_of(const float* x, const float* weights, float d) {
  return lane_sum(kSub, [&](std::size_t i) {
    const float error = x[i] - d * kDoubledE2M1[code_of(x[i], d)];
    return weights[i] * error * error;
  });
}

std::uint8_t search_scale(const float* x, const float* weights, std::uint8_t start) {
  std::uint8_t best = start;
  float best_error = error_of(x, weights, half_scale_of(start));
  // An octave has eight codes: from two thirds to one and a half of the plain scale.
  for (int code = std::max(1, start - 5); code <= std::min<int>(kMaxScaleCode, start + 5); ++code) {
    const float error = error_of(x, weights, half_scale_of(static_cast<std::uint8_t>(code)));
    if (!(error < best_error)) continue;
    best_error = error;
    best = static_cast<std::uint8_t>(code);
  }
  return best;
}

}  // namespace

void Nvfp4::fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
  const bool search = options.rule == FitRule::search || options.rule == FitRule::automatic;
  const float* weights = weights_or_ones(importance);
  for (std::size_t s = 0; s < 4; ++s) {
    const float peak = find_peak(x + kSub * s, kSub).magnitude;
    grid.code[s] = plain_scale_code(peak / 6);
    if (search && peak > 0) grid.code[s] = search_scale(x + kSub * s, weights + kSub * s, grid.code[s]);
    grid.d[s] = half_scale_of(grid.code[s]);
  }
}

Code Nvfp4::nearest(const Grid& grid, std::size_t column, const float* target, const float*) { return code_of(*target, grid.d[column / kSub]); }

void Nvfp4::value(const Grid& grid, std::size_t column, Code code, float* out) { *out = kDoubledE2M1[code] * grid.d[column / kSub]; }

void Nvfp4::pack(const Grid& grid, const Code* codes, Block& block) {
  std::memcpy(block.d, grid.code, 4);
  for (std::size_t s = 0; s < 4; ++s)
    for (std::size_t j = 0; j < 8; ++j) block.qs[8 * s + j] = static_cast<std::uint8_t>(codes[kSub * s + j] | (codes[kSub * s + j + 8] << 4));
}

void Nvfp4::unpack(const Block& block, Grid& grid, Code* codes) {
  for (std::size_t s = 0; s < 4; ++s) {
    grid.code[s] = block.d[s];
    grid.d[s] = half_scale_of(block.d[s]);
    for (std::size_t j = 0; j < 8; ++j) {
      codes[kSub * s + j] = block.qs[8 * s + j] & 15u;
      codes[kSub * s + j + 8] = block.qs[8 * s + j] >> 4;
    }
  }
}

std::optional<std::string> Nvfp4::find_defect(const Block& block) {
  for (const std::uint8_t code : block.d) {
    if ((code & 0x7f) == 0x7f) return "a scale is reserved (NaN)";
    if (code > 0x7f) return "a scale is negative";
  }
  return std::nullopt;
}

FormatPtr make_nvfp4() { return std::make_shared<BlockFormat<Nvfp4>>(); }

}  // namespace nibble
