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

namespace nibble {

struct GenerateOptions {
  SamplerOptions sampler = {};
  std::size_t max_tokens = 128;
  std::vector<std::string> stop = {};  // text that ends generation; neither it nor what follows is given out
  bool ignore_end = false;             // go on past end tokens
  std::size_t context = 0;  // room for prompt and answer; 0: as much as is needed, at most the model's own context
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

// Error(unusable_input) when the prompt is empty or does not fit the context.
Generated generate(Decoder& decoder, const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                   const GenerateOptions& options, const TextCallback& on_text);

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

 private:
  std::string take(std::size_t count);
  std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace nibble
