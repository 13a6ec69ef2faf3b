// SPDX-License-Identifier: Apache-2.0
//
// How far a candidate's predictions are from its original's: both models run side by side over the same windows, once, and nothing is
// kept but one number a token.
//
//   require_same_tokens(original_tokenizer, candidate_tokenizer, text);
//   Divergence d = measure_divergence(original, candidate, windows, {}, pool);
#pragma once

#include "evaluate/perplexity.h"

namespace nibble {

struct Divergence {
  // Of KL(original || candidate) in nats over the scored positions.
  double kl_mean = 0, kl_standard_error = 0, kl_p999 = 0, kl_maximum = 0;
  double top1_agreement = 0;                // share of positions where both put the same token first
  double perplexity_ratio = 1;              // candidate / original
  double perplexity_ratio_standard_error = 0;  // from the paired differences
  Perplexity original, candidate;
};

// What one position contributes. p, q: logits over the same vocabulary. Exactly 0 and true for equal logits.
struct PositionDivergence {
  double kl = 0;
  double log_sum_p = 0, log_sum_q = 0;  // log(sum(exp))
  bool same_top = false;
};
PositionDivergence compare_logits(std::span<const float> p, std::span<const float> q);

// The value below which this share of `values` lies, interpolated between neighbours as llama.cpp does. values: sorted, not empty.
double quantile(std::span<const double> values, double share);

// The same bits for any number of threads. Errors: invalid_argument when the vocabularies differ in size (says both); those of
// measure_perplexity.
Divergence measure_divergence(Decoder& original, Decoder& candidate, const Windows& windows, const EvaluateOptions& options, ThreadPool& pool);

}  // namespace nibble
