// SPDX-License-Identifier: Apache-2.0
#include "train/input_rounding.h"

#include <algorithm>
#include <cmath>

#include "nibble/error.h"

namespace nibble {
namespace {

// codes: of a grid with a zero point, all of them; else as many on either side.
float lowest_code(bool is_asymmetric) {
  return static_cast<float>(is_asymmetric ? kLowestActivation : -kHighestActivation);
}

ActivationGrid grid_of_range(float low, float high, bool is_asymmetric) {
  constexpr auto kHighest = static_cast<float>(kHighestActivation);
  ActivationGrid grid;
  if (!is_asymmetric) {
    grid.scale = std::max(std::max(-low, high) / kHighest, kSmallestActivationScale);
    return grid;
  }
  low = std::min(low, 0.0F);
  high = std::max(high, 0.0F);
  grid.scale = std::max((high - low) / (kHighest - lowest_code(true)), kSmallestActivationScale);
  grid.zero = static_cast<std::int32_t>(std::nearbyint(lowest_code(true) - low / grid.scale));
  return grid;
}

void round_run(const float* x, std::size_t count, const ActivationGrid& grid, bool is_asymmetric, float* out) {
  constexpr float kWhole = 12582912.0F;  // what is added to it loses its fraction
  const float low = lowest_code(is_asymmetric), zero = static_cast<float>(grid.zero);
  for (std::size_t i = 0; i < count; ++i) {
    const float place =
        std::clamp(x[i] / grid.scale + zero, low - 1, static_cast<float>(kHighestActivation) + 1);  // rounds exactly
    const float code = std::clamp((place + kWhole) - kWhole, low, static_cast<float>(kHighestActivation));
    out[i] = grid.scale * (code - zero);
  }
}

}  // namespace

ActivationGrid reaching_grid(std::span<const float> x, const ActivationFormat& format) {
  const auto [low, high] = std::ranges::minmax(x);
  return grid_of_range(low, high, format.is_asymmetric);
}

bool is_cut_off(float x, const ActivationGrid& grid, bool is_asymmetric) {
  const float place = x / grid.scale + static_cast<float>(grid.zero);
  return place < lowest_code(is_asymmetric) - 0.5F || place > static_cast<float>(kHighestActivation) + 0.5F;
}

void round_inputs(std::span<const float> x, std::size_t cols, const InputRounding& rounding, std::span<float> out,
                  ThreadPool& pool) {
  const ActivationFormat& format = rounding.format;
  const std::size_t run = format.grain == ActivationGrain::run ? format.run : cols;
  pool.parallel_for(x.size() / cols, 32, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t token = begin; token < end; ++token)
      for (std::size_t from = 0; from < cols; from += run) {
        const std::size_t place = token * cols + from, count = std::min(run, cols - from);
        const ActivationGrid grid = format.is_static() ? rounding.grid : reaching_grid(x.subspan(place, count), format);
        round_run(&x[place], count, grid, format.is_asymmetric, &out[place]);
      }
  });
}

void require_trainable_inputs(const ActivationFormat& format) {
  if (format.wide == WideColumns::none) return;
  throw Error(
      ErrorKind::invalid_argument,
      "inputs with wide columns are not rounded while a model is trained; take a8:g128, a8:token or a8:static: " +
          activation_format_name(format),
      "quantize");
}

}  // namespace nibble
