// SPDX-License-Identifier: Apache-2.0
//
// How well a model predicts a text.
//
//   Perplexity p = measure_perplexity(decoder, windows, {}, pool);
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "evaluate/windows.h"
#include "model/decoder.h"
#include "nibble/progress.h"

namespace nibble {

struct EvaluateOptions {
  ProgressCallback progress = {};  // stage "evaluate", in tokens
};

struct Perplexity {
  double perplexity = 0;
  double standard_error = 0;  // of the perplexity: perplexity * deviation of the log likelihoods / sqrt(tokens - 1), as llama.cpp prints
  double mean_nll = 0;        // natural logarithm
  std::uint64_t tokens_scored = 0, windows = 0, context = 0;
  Protocol protocol = Protocol::llama_cpp;
};

// From the negative log likelihoods of the scored tokens.
Perplexity summarise_perplexity(std::span<const double> nll, const Windows& windows);

// The same bits for any number of threads. Errors: cancelled; corrupt when logits are not finite; invalid_argument for ids outside the
// vocabulary.
Perplexity measure_perplexity(Decoder& decoder, const Windows& windows, const EvaluateOptions& options, ThreadPool& pool);

}  // namespace nibble
