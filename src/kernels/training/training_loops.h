// SPDX-License-Identifier: Apache-2.0
//
// What walking forwards and backwards does row by row between the products, by one instruction set; all sets give the
// same bits. Sums run in sixteen f32 lanes. Functions neither throw, allocate nor print.
//
//   const TrainingLoops& loops = training_loops(machine.isa);
//   loops.softmax(scores, seen, 0.125F, -INFINITY);
#pragma once

#include <cstddef>

#include "base/cpu.h"

namespace nibble {

struct TrainingLoops {
  // x becomes the softmax of scale * x and one more score, `rest`, whose share is returned; -infinity: there is none.
  float (*softmax)(float* x, std::size_t count, float scale, float rest);
  // Of p = softmax(scale * x): by_p becomes the gradient by x, scale * p * (by_p - mean), and the mean of by_p, by p,
  // is returned.
  float (*softmax_gradient)(const float* p, std::size_t count, float scale, float* by_p);
  // x becomes factor * e^(x - log_sum).
  void (*probabilities)(float* x, std::size_t count, float log_sum, float factor);
  // Of y = x / (1 + e^-x), and of y = x * P(X <= x) in the form with tanh.
  void (*silu)(const float* x, std::size_t count, float* y);
  void (*add_silu_gradient)(const float* x, const float* by_y, std::size_t count, float* by_x);
  void (*gelu)(const float* x, std::size_t count, float* y);
  void (*add_gelu_gradient)(const float* x, const float* by_y, std::size_t count, float* by_x);
  // Of y = x / sqrt(mean(x^2) + epsilon) * weight; by_x or by_weight null: nobody asks.
  void (*add_rms_norm_gradient)(const float* x, const float* weight, const float* by_y, std::size_t width,
                                float epsilon, float* by_x, float* by_weight);
};

// The processor must have the set.
const TrainingLoops& training_loops(Isa isa);

namespace scalar {
extern const TrainingLoops kTrainingLoops;
}
namespace avx2 {
extern const TrainingLoops kTrainingLoops;
}
namespace avx512 {
extern const TrainingLoops kTrainingLoops;
}
namespace neon {
extern const TrainingLoops kTrainingLoops;
}

}  // namespace nibble
