// SPDX-License-Identifier: Apache-2.0
//
// How well a model predicts a text, and how far a quantized model is from its original.
//
//   nibble::Verdict verdict = nibble::evaluate_against(quantized, original, text, {});
//   std::cout << verdict.perplexity_ratio << ' ' << verdict.kl_mean << '\n';
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

struct EvaluateRequest {
  std::string protocol = "llama.cpp";  // or "paper"
  std::size_t context = 0;             // tokens in a window; 0: the protocol's own
  std::size_t max_windows = 0;         // 0: all
  MachineOptions machine{};
  ProgressCallback progress{};
};

// 95 %, by a bootstrap over windows; unknown where the text has too few of them.
struct Interval {
  bool known = false;
  double low = 0, high = 0;
};

struct PerplexityResult {
  double perplexity = 0, standard_error = 0;  // the error as if tokens were independent
  Interval interval{};
  std::uint64_t tokens_scored = 0, windows = 0, context = 0;
  std::string protocol;
};

struct Verdict {
  PerplexityResult candidate, original;
  double kl_mean = 0, kl_p999 = 0;  // KL(original || candidate) in nats
  double top1_agreement = 0;        // share of positions where both put the same token first
  double perplexity_ratio = 1;      // candidate / original
  Interval kl_mean_interval{}, kl_p999_interval{}, top1_agreement_interval{}, perplexity_ratio_interval{};
};

// Errors: unusable_input (text shorter than a window), unsupported (tokenizers or vocabularies that differ),
// invalid_argument, not_found (no tokenizer), corrupt, cancelled.
PerplexityResult evaluate(const Model& model, std::string_view text, const EvaluateRequest& request);
Verdict evaluate_against(const Model& candidate, const Model& original, std::string_view text,
                         const EvaluateRequest& request);

}  // namespace nibble
