// SPDX-License-Identifier: Apache-2.0
#include "nibble/evaluate.h"

#include <algorithm>

#include "evaluate/divergence.h"
#include "model/tokenizer/tokenizer.h"
#include "pipeline/model_state.h"

namespace nibble {
namespace {

PerplexityResult result_of(const Perplexity& p) {
  return {p.perplexity, p.standard_error, p.tokens_scored, p.windows, p.context, std::string(protocol_name(p.protocol))};
}

WindowOptions window_options(const EvaluateRequest& request) { return {parse_protocol(request.protocol), request.context, request.max_windows}; }

}  // namespace

PerplexityResult evaluate(const Model& model, std::string_view text, const EvaluateRequest& request) {
  const Checkpoint& checkpoint = model.state().checkpoint;
  ThreadPool pool(request.machine.threads);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  DecoderOptions options;
  options.kernels = kernel_options(request.machine);
  options.progress = request.progress;
  Decoder decoder(checkpoint, options, pool);
  const Windows windows = cut_windows(tokenizer.encode(text), bos_of(tokenizer), decoder.config().context, window_options(request));
  return result_of(measure_perplexity(decoder, windows, {.progress = request.progress}, pool));
}

Verdict evaluate_against(const Model& candidate, const Model& original, std::string_view text, const EvaluateRequest& request) {
  ThreadPool pool(request.machine.threads);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(original.state().checkpoint);
  require_same_tokens(tokenizer, Tokenizer::from_checkpoint(candidate.state().checkpoint), text);
  DecoderOptions options;
  options.kernels = kernel_options(request.machine);
  options.progress = request.progress;
  Decoder reference(original.state().checkpoint, options, pool), judged(candidate.state().checkpoint, options, pool);
  const std::size_t context = std::min(reference.config().context, judged.config().context);
  const Windows windows = cut_windows(tokenizer.encode(text), bos_of(tokenizer), context, window_options(request));
  const Divergence d = measure_divergence(reference, judged, windows, {.progress = request.progress}, pool);
  return {result_of(d.candidate), result_of(d.original), d.kl_mean, d.kl_p999, d.top1_agreement, d.perplexity_ratio};
}

}  // namespace nibble
