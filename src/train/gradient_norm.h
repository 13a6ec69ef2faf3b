// SPDX-License-Identifier: Apache-2.0
//
// How long the gradient of all parameters is together, and what it is shortened by where that is too long (Pascanu et
// al. 2013, arXiv:1211.5063). Nothing is written: optimizers take the factor along with the gradient.
//
//   const double norm = gradient_norm(parameters, pool);
//   optimizer.step(parameters, {.rate = rate, .gradient_factor = clip_factor(norm, 1.0)}, machine);
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "train/parameter.h"

namespace nibble {

// sqrt(sum of squares) over all parameters. Summed in f64 over runs of fixed length, the runs in order: the same bits
// for any number of threads. NaN or infinite where a slope is.
double gradient_norm(std::span<const Parameter> parameters, ThreadPool& pool);

// min(1, longest / norm); 1 where longest is 0: nothing is shortened. NaN for a norm that is none.
double clip_factor(double norm, double longest);

}  // namespace nibble
