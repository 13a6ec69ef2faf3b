// SPDX-License-Identifier: Apache-2.0
#include "serve/token_chooser.h"

#include <algorithm>
#include <numeric>

#include "kernels/log_probabilities.h"

namespace nibble::serve {

TokenChooser::TokenChooser(const GenerationRequest& request, const TokenList& tokens, Isa isa)
    : sampler_(request.sampler),
      isa_(isa),
      presence_(request.presence_penalty),
      frequency_(request.frequency_penalty),
      bias_(request.logit_bias),
      told_chances_(request.told_chances) {
  if (request.grammar) hold_.emplace(tokens, request.grammar, request.grammar_start);
}

std::int32_t TokenChooser::choose(std::span<const float> logits, std::span<const std::int32_t> history) {
  const bool penalises = presence_ != 0 || frequency_ != 0;
  if (hold_ || !bias_.empty() || (penalises && !made_.empty())) {
    logits_.assign(logits.begin(), logits.end());
    for (const auto& [id, bias] : bias_) logits_[static_cast<std::size_t>(id)] += bias;
    if (penalises)
      for (const auto& [id, count] : made_)
        logits_[static_cast<std::size_t>(id)] -=
            static_cast<float>(presence_ + frequency_ * static_cast<double>(count));
    if (hold_) hold_->restrict(logits_);
    logits = logits_;
  }
  std::int32_t id = sampler_.choose(logits, history);
  while (hold_ && !hold_->take(id, logits_)) id = sampler_.choose(logits_, history);
  if (penalises) ++made_[id];
  return id;
}

ToldToken TokenChooser::tell(std::span<const float> logits, std::int32_t id) const {
  ToldToken told{.id = id};
  if (!told_chances_) return told;
  const double whole = log_sum_exp(logits.data(), logits.size(), isa_).log_sum;
  const auto chance = [&](std::int32_t token) {
    return static_cast<double>(logits[static_cast<std::size_t>(token)]) - whole;
  };
  told.log_probability = chance(id);
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(std::min(*told_chances_, ids.size()));
  std::partial_sort(ids.begin(), end, ids.end(), [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  });
  for (auto token = ids.begin(); token != end; ++token) told.most_probable.push_back({*token, chance(*token)});
  return told;
}

}  // namespace nibble::serve
