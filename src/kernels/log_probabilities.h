// SPDX-License-Identifier: Apache-2.0
//
// Distributions over a vocabulary, from logits: their normaliser, how far two are apart, which tokens lead. Sums run in
// f64 in sixteen lanes with an f64 exponential of its own, the same bits on every instruction set. Pure functions, safe
// from many threads.
//
//   LogSumExp whole = log_sum_exp(logits, vocab, isa);
//   double log_probability = logits[token] - whole.log_sum;
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"

namespace nibble {

// log_sum = log(sum exp(x[i])), natural. count > 0. Not finite when a value is NaN or +infinity.
struct LogSumExp {
  float maximum = 0;
  double log_sum = 0;
};
LogSumExp log_sum_exp(const float* x, std::size_t count, Isa isa);

// kl = KL(P || Q) in nats of the distributions that logits p and q stand for, at least 0 and exactly 0 for equal
// logits; log_sum_p as above (the same bits), log_sum_q likewise. Not finite when logits are not.
struct LogitDivergence {
  double kl = 0, log_sum_p = 0, log_sum_q = 0;
};
LogitDivergence divergence_of_logits(const float* p, const float* q, std::size_t count, Isa isa);

// The positions of the best.size() greatest values, greatest first; equal values by position. best.size() <= count and
// at most 16.
void greatest(const float* x, std::size_t count, std::span<std::uint32_t> best, Isa isa);

}  // namespace nibble
