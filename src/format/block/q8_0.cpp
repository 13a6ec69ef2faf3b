// SPDX-License-Identifier: Apache-2.0
#include "format/block/q8_0.h"

#include <cmath>

#include "format/common_step.h"
#include "format/scale.h"

namespace nibble {

namespace {

float largest_magnitude(const float* x) {
  float amax = 0;
  for (std::size_t i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[i]));
  return amax;
}

// Half away from zero, as the reference rounds. Adding the largest float below one half keeps 0.49999997 down.
int round_away(float value) { return static_cast<int>(value + std::copysign(0.49999997f, value)); }

}  // namespace

void Q8_0::fit(const float* x, const float*, const FitOptions& options, Grid& grid) {
  if (options.rule == FitRule::exact)
    if (grid.d = find_common_step({x, 32}, -128, 127, [](float s) { return f16_to_f32(to_f16_saturated(s)); });
        grid.d != 0)
      return;
  grid.d = f16_to_f32(to_f16_saturated(largest_magnitude(x) / 127.0f));
}

Code Q8_0::nearest(const Grid& grid, std::size_t, const float* target, const float*) {
  if (grid.d == 0) return 128;
  return static_cast<Code>(128 + round_away(std::clamp(*target / grid.d, -128.0f, 127.0f)));
}

void Q8_0::value(const Grid& grid, std::size_t, Code code, float* out) {
  *out = static_cast<float>(static_cast<int>(code) - 128) * grid.d;
}

void Q8_0::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  for (std::size_t i = 0; i < 32; ++i) block.qs[i] = static_cast<std::int8_t>(static_cast<int>(codes[i]) - 128);
}

void Q8_0::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t i = 0; i < 32; ++i) codes[i] = static_cast<Code>(block.qs[i] + 128);
}

// The reference divides by the scale before it is rounded to half precision; so does this, whatever the rule: at 8 bits
// no search pays.
void Q8_0::encode(const float* x, const float*, const FitOptions&, Block& block) {
  const float d = largest_magnitude(x) / 127.0f;
  const float inverse = d >= kMinNormal ? 1.0f / d : 0.0f;
  block.d = to_f16_saturated(d);
  for (std::size_t i = 0; i < 32; ++i) block.qs[i] = static_cast<std::int8_t>(round_away(x[i] * inverse));
}

void Q8_0::decode(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (std::size_t i = 0; i < 32; ++i) out[i] = static_cast<float>(block.qs[i]) * d;
}

std::optional<std::string> Q8_0::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_q8_0() { return std::make_shared<BlockFormat<Q8_0>>(); }

}  // namespace nibble
