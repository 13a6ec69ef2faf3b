// SPDX-License-Identifier: Apache-2.0
//
// What is asked of the scheduler, and what it tells while it is done.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nibble/generate.h"

namespace nibble::serve {

class GrammarRules;  // serve/grammar/grammar.h

// A token, and the natural logarithm of its probability by the model alone: before temperature, penalties and biases.
struct TokenChance {
  std::int32_t token = 0;
  double log_probability = 0;
};

// A token of a text, with what was asked of its probability.
struct ToldToken {
  std::int32_t id = 0;
  std::optional<double> log_probability = {};  // none: not asked for, or a text's first token, which follows on nothing
  std::vector<TokenChance> most_probable = {};  // falling
};

// From where on a grammar holds a text. Empty: from its first token.
struct GrammarStart {
  // Behind thoughts between these, with which it may begin, or has begun before its first token.
  std::string thought_open = {}, thought_close = {};
  bool begins_in_thought = false;
  // From this text on, which is of the grammar and may never come; empty: at once, and the text does not end before.
  std::string opening = {};
  bool opens_text = false;  // only where it is the first of the text
};

// The continuation of one text. Its bytes are the same whatever else is asked for at the same time.
struct GenerationRequest {
  std::vector<std::int32_t> prompt;  // not empty, shorter than the context
  SamplerOptions sampler = {};
  // Taken from the logits of tokens that were made before: once, and as often as they were.
  double presence_penalty = 0, frequency_penalty = 0;
  std::vector<std::pair<std::int32_t, float>> logit_bias = {};  // added to logits
  std::size_t max_tokens = SIZE_MAX;                            // the context is a limit, too
  std::vector<std::string> stop = {};
  bool ignore_end = false;
  std::shared_ptr<const GrammarRules> grammar = {};  // what the text is held to; null: nothing
  GrammarStart grammar_start = {};
  std::optional<std::size_t> told_chances = {};  // tokens come with their probabilities, and so many of the greatest
  bool tells_prompt = false;                     // the prompt's tokens, too, all of which are read for it
  std::chrono::steady_clock::time_point asked = std::chrono::steady_clock::now();  // times are counted from here
};

enum class FinishReason { stop, length, cancelled, failed };
std::string_view finish_name(FinishReason reason);  // "stop", "length", "cancelled", "failed"

// Why no more of a prompt was held.
enum class PrefixReuse { reused, nothing_held, nothing_in_common, too_little, asked_to_read };
std::string_view reuse_name(PrefixReuse reuse);

struct GenerationUsage {
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;  // of these, held from earlier texts and not read again
  std::size_t new_tokens = 0;
  PrefixReuse reuse = PrefixReuse::nothing_held;
  std::size_t preemptions = 0;  // how often it was put back and read again for want of memory
  double queue_seconds = 0, prompt_seconds = 0, decode_seconds = 0;
};

struct GenerationEvent {
  std::size_t index = 0;                 // among the requests that were given together
  std::string_view text;                 // whole characters; empty where more is needed to tell
  std::span<const ToldToken> tokens;     // of this text
  std::span<const ToldToken> prompt;     // once, with the first event, where it was asked for
  std::optional<FinishReason> finish{};  // with the last one
  std::string_view stop_text;            // the one of the request that ended it; empty: none did
  std::string_view error;                // of FinishReason::failed
  const GenerationUsage* usage = nullptr;
};

// Called by the thread that computes: returns soon, throws nothing. What an event points to is gone afterwards.
using EventCallback = std::function<void(const GenerationEvent&)>;

}  // namespace nibble::serve
