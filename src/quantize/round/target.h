// SPDX-License-Identifier: Apache-2.0
//
// What a Linear should aim at when its inputs have changed. The layers before it are quantized already: it reads x'
// where the original reads x, and should still give y. The weights nearest to its own (in the damped sense) that do so
// on average:
//
//   W* = (E[y x'^T] + W D) (E[x' x'^T] + D)^-1,    D diagonal: what the factor added
//
// With y = W x this is the target of GPTAQ (Li et al. 2025); where the output is added to a residual stream, y may
// include what that stream has lost so far.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/machine.h"
#include "quantize/round/feedback_factor.h"

namespace nibble {

// Two triangular systems in f32, in blocks of columns. factor: of E[x' x'^T], as feedback rounding has it. weights:
// [rows, cols]; outputs: E[y x'^T], [rows, cols]. Returns W*, the same bits for any number of threads.
std::vector<float> solve_target(const FeedbackFactor& factor, std::span<const float> weights,
                                std::span<const float> outputs, std::size_t rows, Machine& machine);

}  // namespace nibble
