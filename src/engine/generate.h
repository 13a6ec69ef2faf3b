// SPDX-License-Identifier: Apache-2.0
//
// Text from a model, token by token.
//
//   auto prompt = tokenizer.encode("Once upon a time");
//   auto made = generate(decoder, tokenizer, prompt, {.max_tokens = 100}, [](std::string_view piece) { return
//   show(piece); });
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/decoder.h"
#include "model/sampler.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/generate.h"

namespace nibble {

// Error(unusable_input) when the prompt is empty or does not fit the context.
Generated generate(Decoder& decoder, const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                   const GenerateOptions& options, const TextCallback& on_text);

// The same where whoever owns the decoder steps it, so that others may use it between two steps.
using StepFunction =
    std::function<void(const SequenceStep& step, std::span<float> logits, const ProgressCallback& progress)>;
Generated generate(const Decoder& decoder, const StepFunction& step, const Tokenizer& tokenizer,
                   std::span<const std::int32_t> prompt, const GenerateOptions& options, const TextCallback& on_text);

// The same in a sequence that stays: cache holds the prompt's first tokens, not all of them, and these are not read
// again; afterwards it holds the prompt and what was made, but for its last token. Its capacity is the context,
// whatever the options say. After an error the cache is as step() leaves it.
Generated generate(const Decoder& decoder, KvCache& cache, const StepFunction& step, const Tokenizer& tokenizer,
                   std::span<const std::int32_t> prompt, const GenerateOptions& options, const TextCallback& on_text);

// Holds back what may not be given out yet: characters that are not complete, and text that may be the beginning of a
// stop text.
class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop);
  // Takes a token's bytes and returns the text that is now certain.
  std::string push(std::string_view bytes);
  // What is left when no more tokens come.
  std::string finish();
  bool stopped() const noexcept { return stopped_; }
  // How many bytes of what was pushed have not been given out; once stopped: from the stop text on.
  std::size_t held_bytes() const noexcept { return held_.size(); }

 private:
  std::string take(std::size_t count);
  std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace nibble
