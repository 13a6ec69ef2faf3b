// SPDX-License-Identifier: Apache-2.0
//
// Inputs of Linears rounded to 8 bits while a network is trained, as an engine rounds them that multiplies integers:
// what the products see. Slopes pass through, but for inputs that a static grid cuts off. Pure functions.
//
//   round_inputs(x, 768, rounding, rounded, pool);
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "format/activation_format.h"

namespace nibble {

struct InputRounding {
  ActivationFormat format{};
  ActivationGrid grid{.scale = 0};  // of static ones; a scale of 0: not found yet
};

// x: [tokens, cols]; out: the same shape. Symmetric dynamic grids reach -127 .. 127, as the engine's.
void round_inputs(std::span<const float> x, std::size_t cols, const InputRounding& rounding, std::span<float> out,
                  ThreadPool& pool);
// The grid of a static rounding that reaches all of x.
ActivationGrid reaching_grid(std::span<const float> x, const ActivationFormat& format);
// Of a static grid, whether it cuts an input off.
bool is_cut_off(float x, const ActivationGrid& grid, bool is_asymmetric);

// Error(invalid_argument): columns of 15 bits.
void require_trainable_inputs(const ActivationFormat& format);

}  // namespace nibble
