// SPDX-License-Identifier: Apache-2.0
//
// Chooses a sequence's next token as its request asks: biases and penalties, then the sampler; and tells how probable
// tokens were. One thread.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "base/cpu.h"
#include "model/sampler.h"
#include "serve/generation.h"
#include "serve/grammar/grammar_hold.h"

namespace nibble::serve {

class TokenChooser {
 public:
  // tokens: of the model; needed where the request has a grammar, and must outlive this. Error(invalid_argument) names
  // the option that is out of its range.
  TokenChooser(const GenerationRequest& request, const TokenList& tokens, Isa isa);

  // logits: [vocabulary]. history: prompt and what was made. Error(corrupt): logits are not finite; unusable_input: no
  // token goes on as the grammar asks for.
  std::int32_t choose(std::span<const float> logits, std::span<const std::int32_t> history);
  // What was asked for of the token's probability.
  ToldToken tell(std::span<const float> logits, std::int32_t id) const;

 private:
  Sampler sampler_;
  Isa isa_;
  double presence_, frequency_;
  std::vector<std::pair<std::int32_t, float>> bias_;
  std::optional<std::size_t> told_chances_;
  std::unordered_map<std::int32_t, std::size_t> made_;  // how often
  std::optional<GrammarHold> hold_;
  std::vector<float> logits_;
};

}  // namespace nibble::serve
