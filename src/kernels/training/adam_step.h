// SPDX-License-Identifier: Apache-2.0
//
// One step of AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101; without weight decay that of Adam, Kingma and Ba
// 2015, arXiv:1412.6980) over some numbers, as PyTorch takes it: in f32, each operation rounded by itself.
//
//   take_step(adamw_step({.rate = 1e-2}, 1, done + 1), slopes, 1, values, mean, mean_square);
#pragma once

#include <cstdint>
#include <span>

namespace nibble {

struct AdamWSettings {
  double rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.01;
};

// What a loop over numbers multiplies with.
struct AdamWStep {
  float keep, mean_share, square_keep, square_share, size, root, epsilon;
};

// The count-th step, the first being 1. rate_factor: of the rate of the settings.
AdamWStep adamw_step(const AdamWSettings& settings, double rate_factor, std::uint64_t count);

// factor: of the gradient. All spans are equally long; mean and square begin as zeros.
void take_step(const AdamWStep& by, std::span<const float> gradient, float factor, std::span<float> values,
               std::span<float> mean, std::span<float> square);

}  // namespace nibble
