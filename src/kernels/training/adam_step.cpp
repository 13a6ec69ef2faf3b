// SPDX-License-Identifier: Apache-2.0
#include "kernels/training/adam_step.h"

#include <cmath>
#include <cstddef>

namespace nibble {

AdamWStep adamw_step(const AdamWSettings& settings, double rate_factor, std::uint64_t count) {
  const double rate = settings.rate * rate_factor, steps = static_cast<double>(count);
  return {static_cast<float>(1 - rate * settings.weight_decay),
          static_cast<float>(1 - settings.beta1),
          static_cast<float>(settings.beta2),
          static_cast<float>(1 - settings.beta2),
          static_cast<float>(rate / (1 - std::pow(settings.beta1, steps))),
          static_cast<float>(std::sqrt(1 - std::pow(settings.beta2, steps))),
          static_cast<float>(settings.epsilon)};
}

void take_step(const AdamWStep& by, std::span<const float> gradient, float factor, std::span<float> values,
               std::span<float> mean, std::span<float> square) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float slope = factor * gradient[i];
    mean[i] = mean[i] + by.mean_share * (slope - mean[i]);
    square[i] = by.square_keep * square[i] + by.square_share * slope * slope;
    values[i] = by.keep * values[i] - by.size * (mean[i] / (std::sqrt(square[i]) / by.root + by.epsilon));
  }
}

}  // namespace nibble
