// SPDX-License-Identifier: Apache-2.0
//
// Text from a loaded model, and the choice of the next token.
//
//   nibble::LoadedModel loaded(nibble::open_model("small.gguf"));
//   nibble::generate(loaded, "Once upon a time", {.max_tokens = 50}, [](std::string_view piece) {
//     std::cout << piece;
//     return true;
//   });
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/progress.h"

namespace nibble {

class LoadedModel;  // nibble/engine.h

// Applied in this order: repetition penalty, top-k, top-p, min-p, temperature.
struct SamplerOptions {
  double temperature = 0;  // 0: greedy, the largest logit
  std::size_t top_k = 40;  // keep the k largest; 0: all
  double top_p = 0.95;     // keep the fewest tokens whose probabilities reach this sum; 1: all
  double min_p = 0.05;     // drop tokens less probable than this share of the most probable one; 0: none
  double repetition_penalty =
      1;  // > 1 divides positive and multiplies negative logits of tokens seen (Keskar et al. 2019)
  std::size_t repetition_window = 64;  // how many last tokens count as seen; 0: all
  std::uint64_t seed = 0;
};

struct GenerateOptions {
  SamplerOptions sampler = {};
  std::size_t max_tokens = 128;
  std::vector<std::string> stop = {};  // text that ends generation; neither it nor what follows is given out
  bool ignore_end = false;             // go on past end tokens
  std::size_t context = 0;  // room for prompt and answer; 0: as much as is needed, at most the model's own context
  ProgressCallback progress = {};  // stages "read" (the prompt) and "generate", in tokens
};

enum class StopReason { end_token, stop_text, max_tokens, context_full, caller };

struct Generated {
  std::string text;
  std::vector<std::int32_t> tokens;  // without the end token
  StopReason reason = StopReason::max_tokens;
  std::size_t prompt_tokens = 0;
  double prompt_seconds = 0, decode_seconds = 0;  // decode: of the passes after the prompt's
  std::size_t decode_tokens = 0;                  // how many such passes there were
};

// Called with whole characters of new text (invalid UTF-8 replaced by U+FFFD); false stops.
using TextCallback = std::function<bool(std::string_view)>;

// The same text for any number of threads. The prompt is encoded as Model::encode does by default, or given as tokens.
// on_text may be empty. Errors: unusable_input (an empty prompt, or one that does not fit the context),
// invalid_argument (a sampler's option out of its range), not_found (no tokenizer), cancelled (by progress; a stop by
// on_text returns what there is).
Generated generate(LoadedModel& model, std::string_view prompt, const GenerateOptions& options,
                   const TextCallback& on_text = {});
Generated generate(LoadedModel& model, std::span<const std::int32_t> prompt, const GenerateOptions& options,
                   const TextCallback& on_text = {});

// Chooses the next token from logits, for loops of one's own. Deterministic: the same logits, options and seed give the
// same tokens. One serves one sequence, from one thread at a time.
class TokenSampler {
 public:
  // Error(invalid_argument) names the option that is out of its range.
  explicit TokenSampler(const SamplerOptions& options);
  TokenSampler(TokenSampler&&) noexcept;
  TokenSampler& operator=(TokenSampler&&) noexcept;
  ~TokenSampler();

  // logits: [vocabulary]. history: the sequence so far. Error(corrupt) when the largest logit is not finite.
  std::int32_t choose(std::span<const float> logits, std::span<const std::int32_t> history);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
