// SPDX-License-Identifier: Apache-2.0
//
// A request on its way: its tokens so far, what of them the cache has been given, and what its caller has been told.
// One thread.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/generate.h"
#include "engine/remembered_sequence.h"
#include "serve/generation.h"
#include "serve/metrics.h"
#include "serve/token_chooser.h"

namespace nibble::serve {

using Clock = std::chrono::steady_clock;

class RunningSequence {
 public:
  // Errors as TokenChooser's.
  RunningSequence(std::uint64_t ticket, std::size_t index, GenerationRequest request, EventCallback on_event,
                  const Tokenizer& tokenizer, const TokenList& token_list, Isa isa);

  std::uint64_t ticket() const noexcept { return ticket_; }
  const GenerationRequest& request() const noexcept { return request_; }
  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }
  const GenerationUsage& usage() const noexcept { return usage_; }

  // The cache that it works with: none before it is admitted, and after it was put back.
  void begin(RememberedSequence memory, PrefixReuse reuse);
  RememberedSequence put_back();
  bool has_memory() const noexcept { return memory_.has_value(); }
  RememberedSequence& memory() noexcept { return *memory_; }
  const RememberedSequence& memory() const noexcept { return *memory_; }
  // Tokens that the network has not read. One, once the prompt is read: the last one made.
  std::size_t unread() const noexcept { return tokens_.size() - memory_->cache().length(); }
  bool is_decoding() const noexcept { return made() > 0 && unread() == 1; }
  std::size_t made() const noexcept { return tokens_.size() - request_.prompt.size(); }

  // The next of its tokens, at most so many. Fewer where a point has to be saved behind them.
  SequenceStep next_step(std::size_t most);
  // Logits of a step's tokens from its `first` on, whose cache has been given all of them. True: it is done.
  bool take_logits(const SequenceStep& step, std::span<const float> logits, std::size_t vocabulary, Metrics& metrics);
  // Tells the caller the last. error: of FinishReason::failed.
  void finish(FinishReason reason, std::string_view error, Metrics& metrics);

 private:
  bool is_prompt_told() const noexcept {
    return !request_.tells_prompt || told_prompt_.size() >= request_.prompt.size();
  }
  bool add_token(std::span<const float> logits, Metrics& metrics);
  void tell(const std::string& text, std::optional<FinishReason> finish, std::string_view error);

  std::uint64_t ticket_;
  std::size_t index_;
  GenerationRequest request_;
  EventCallback on_event_;
  const Tokenizer& tokenizer_;
  TokenChooser chooser_;
  TextStream stream_;
  std::vector<std::int32_t> tokens_;  // the prompt's, and what was made
  std::optional<RememberedSequence> memory_;
  std::vector<ToldToken> told_prompt_;
  bool is_prompt_given_ = false;
  // Tokens whose text is held back; where each begins in the bytes of the whole text.
  std::vector<ToldToken> waiting_;
  std::vector<std::size_t> begins_;
  std::string bytes_;  // of the whole text, held back or not
  std::optional<FinishReason> due_;
  GenerationUsage usage_;
  Clock::time_point began_, first_token_, last_token_;
};

}  // namespace nibble::serve
