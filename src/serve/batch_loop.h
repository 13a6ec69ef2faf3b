// SPDX-License-Identifier: Apache-2.0
//
// Several requests in one batch, step by step: in each step every text that is being written gets a token, and of the
// prompts that are being read comes as much as the step has time for. What a request gets does not depend on the
// others. No threads and no locks: the scheduler has those. Nothing but what a caller did not ask for may be lost: when
// memory ends the youngest request is put back, to be read again.
//
//   BatchLoop loop(decoder, tokenizer, limits);
//   loop.add(1, 0, request, [](const GenerationEvent& event) { ... });
//   while (loop.step()) {}
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "engine/decoder.h"
#include "model/tokenizer/tokenizer.h"
#include "serve/generation.h"
#include "serve/held_sequences.h"
#include "serve/metrics.h"
#include "serve/running_sequence.h"

namespace nibble::serve {

struct BatchLimits {
  std::size_t context = 0;         // of every sequence, in tokens; some models' positions depend on it
  std::size_t most_sequences = 8;  // at work at the same time
  std::size_t most_held = 16;      // whose requests are done
  std::uint64_t memory = 0;        // of all caches, in bytes: at least one sequence's when it is full
  std::size_t step_tokens = 0;     // in a step; 0: as many as take about a tenth of a second
};

// A sequence at work, for who looks on.
struct SequenceFacts {
  std::uint64_t ticket = 0;
  std::size_t prompt_tokens = 0, cached_tokens = 0, read_tokens = 0, new_tokens = 0;
};

class BatchLoop {
 public:
  // Decoder and tokenizer must outlive this. Error(resource): memory does not hold one sequence.
  BatchLoop(Decoder& decoder, const Tokenizer& tokenizer, const BatchLimits& limits);

  // What a sequence of so many tokens needs of it at most: points to go back to, too.
  static std::uint64_t bytes_of_sequence(const Decoder& decoder, std::size_t tokens);

  // Errors: unusable_input (no tokens, none in the vocabulary, no room in the context: says both lengths),
  // invalid_argument (an option out of its range).
  void judge(const GenerationRequest& request) const;
  // request: judged.
  void add(std::uint64_t ticket, std::size_t index, GenerationRequest request, EventCallback on_event);
  // All of this ticket end with FinishReason::cancelled.
  void cancel(std::uint64_t ticket);
  void cancel_all();
  // False: there was nothing to do.
  bool step();

  const BatchLimits& limits() const noexcept { return limits_; }
  const Metrics& metrics() const noexcept { return metrics_; }
  std::size_t waiting() const noexcept { return waiting_.size(); }
  std::size_t running() const noexcept;          // whose last event is still to come
  std::uint64_t memory_in_use() const noexcept;  // held sequences' too
  std::uint64_t memory_held() const noexcept { return held_.resident_bytes(); }
  std::vector<SequenceFacts> facts() const;

 private:
  using Running = std::unique_ptr<RunningSequence>;
  std::uint64_t bytes_of(std::size_t length) const;
  std::uint64_t bytes_of(const RunningSequence& sequence, std::size_t more) const;
  std::uint64_t bytes_of_running() const;
  void admit();
  bool make_room_for(std::uint64_t bytes);
  std::size_t budget(std::size_t decoding) const;
  std::vector<SequenceStep> plan();
  bool fits(const std::vector<SequenceStep>& steps) const;
  void put_back_youngest();
  void run(const std::vector<SequenceStep>& steps);
  void run_apart(const std::vector<SequenceStep>& steps);
  void give_logits(RunningSequence& sequence, const SequenceStep& step, std::span<const float> logits);
  void end(RunningSequence& sequence, FinishReason reason, std::string_view error = {});
  void remove_ended();

  Decoder& decoder_;
  const Tokenizer& tokenizer_;
  TokenList token_list_;
  BatchLimits limits_;
  std::deque<Running> waiting_;
  std::vector<Running> running_;  // the one admitted last is the last
  HeldSequences held_;
  std::vector<const RunningSequence*> ended_;
  std::vector<float> logits_;
  double seconds_per_token_ = 0;  // of prompts; 0: not known yet
  Metrics metrics_;
};

}  // namespace nibble::serve
