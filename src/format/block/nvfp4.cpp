// SPDX-License-Identifier: Apache-2.0
#include "format/block/nvfp4.h"

#include <algorithm>
#include <cmath>

#include "format/family/e2m1_block.h"
#include "format/scale_search.h"

namespace nibble {

namespace {

constexpr std::uint8_t kMaxScaleCode = 0x7e;  // 448
constexpr std::size_t kSub = 16;

// Half the value of an unsigned E4M3 code.
float half_scale_of(std::uint8_t code) {
  if (code == 0 || code == 0x7f) return 0;
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -10)
                       : std::ldexp(static_cast<float>(8 + mantissa), exponent - 11);
}

// The E4M3 code of a scale as the reference rounds: halves up; what lies between the subnormals and the first normal
// number goes to the subnormal; from 256 on the largest code, 448.
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

std::uint8_t search_scale(const SpanValues& span, const SpanLoops& loops, std::uint8_t start) {
  // An octave has eight codes: from two thirds to one and a half of the plain scale.
  std::uint8_t codes[11];
  float scales[11];
  double errors[11];
  std::size_t count = 0;
  for (int code = std::max(1, start - 5); code <= std::min<int>(kMaxScaleCode, start + 5); ++code) {
    codes[count] = static_cast<std::uint8_t>(code);
    scales[count] = half_scale_of(codes[count]);
    ++count;
  }
  loops.errors(span, kDoubledE2M1Points, scales, count, errors);
  const auto best = static_cast<std::size_t>(std::min_element(errors, errors + count) - errors);
  // The plain scale where no other is better; code 0 makes all values 0.
  double plain;
  const float scale = start == 0 ? 1.0f : half_scale_of(start);
  loops.errors(span, start == 0 ? UnitPoints{} : kDoubledE2M1Points, &scale, 1, &plain);
  return errors[best] < plain ? codes[best] : start;
}

template <class T>
void pack_grid_and_codes(const Nvfp4::Grid& grid, const T* codes, Nvfp4::Block& block) {
  std::memcpy(block.d, grid.code, 4);
  for (std::size_t s = 0; s < 4; ++s)
    for (std::size_t j = 0; j < 8; ++j)
      block.qs[8 * s + j] = static_cast<std::uint8_t>(codes[kSub * s + j] | (codes[kSub * s + j + 8] << 4));
}

}  // namespace

void Nvfp4::fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                Grid& grid) {
  const bool search = options.rule == FitRule::search || options.rule == FitRule::automatic;
  const float* weights = weights_or_ones(importance);
  for (std::size_t s = 0; s < 4; ++s) {
    const float peak = find_peak(x + kSub * s, kSub).magnitude;
    grid.code[s] = plain_scale_code(peak / 6);
    if (search && peak > 0) grid.code[s] = search_scale({x + kSub * s, weights + kSub * s, kSub}, loops, grid.code[s]);
    grid.d[s] = half_scale_of(grid.code[s]);
  }
}

void Nvfp4::encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                   Block& block) {
  Grid grid;
  fit(x, importance, options, loops, grid);
  std::uint8_t codes[64] = {};
  for (std::size_t s = 0; s < 4; ++s)
    if (grid.d[s] > 0) loops.codes(x + kSub * s, kSub, kDoubledE2M1Points, grid.d[s], codes + kSub * s);
  pack_grid_and_codes(grid, codes, block);
}

Code Nvfp4::nearest(const Grid& grid, std::size_t column, const float* target, const float*) {
  return code_of(*target, grid.d[column / kSub]);
}

void Nvfp4::value(const Grid& grid, std::size_t column, Code code, float* out) {
  *out = kDoubledE2M1[code] * grid.d[column / kSub];
}

void Nvfp4::set_parameters(const float* parameters, Grid& grid) {
  for (std::size_t s = 0; s < 4; ++s) {
    grid.code[s] = plain_scale_code(2 * parameters[s]);
    grid.d[s] = half_scale_of(grid.code[s]);
  }
}

void Nvfp4::pack(const Grid& grid, const Code* codes, Block& block) { pack_grid_and_codes(grid, codes, block); }

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

FormatPtr make_nvfp4() { return std::make_shared<LoopedBlockFormat<Nvfp4>>(); }

}  // namespace nibble
