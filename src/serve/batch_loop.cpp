// SPDX-License-Identifier: Apache-2.0
#include "serve/batch_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/elapsed.h"
#include "nibble/error.h"

namespace nibble::serve {

namespace {

// A step's length: what others wait for their next token while a prompt is read, and what a cancelled prompt goes on.
constexpr double kSharedStepSeconds = 0.1, kLoneStepSeconds = 0.5;
constexpr std::size_t kFewestTokens = 16, kMostTokens = 512, kFirstTokens = 64;
constexpr std::size_t kKeptLogits = 1U << 22U;

}  // namespace

BatchLoop::BatchLoop(Decoder& decoder, const Tokenizer& tokenizer, const BatchLimits& limits)
    : decoder_(decoder),
      tokenizer_(tokenizer),
      token_list_(tokenizer, decoder.config().vocab_size),
      limits_(limits),
      held_(limits.most_held) {
  if (const std::uint64_t one = bytes_of(limits.context); one > limits.memory)
    throw Error(ErrorKind::resource,
                fmt::format("keys and values of one sequence need more memory than there is for all; shorten the "
                            "context or keep them in fewer bits: {} bytes for {} tokens, given {}",
                            one, limits.context, limits.memory),
                "context");
}

void BatchLoop::judge(const GenerationRequest& request) const {
  if (request.prompt.empty()) throw Error(ErrorKind::unusable_input, "the prompt has no tokens; give some text");
  if (request.prompt.size() >= limits_.context)
    throw Error(ErrorKind::unusable_input,
                fmt::format("the prompt leaves no room in the context; shorten it: tokens {}, context {}",
                            request.prompt.size(), limits_.context));
  const auto vocabulary = static_cast<std::int64_t>(decoder_.config().vocab_size);
  const auto judge_id = [&](std::int32_t id, const char* of) {
    if (id < 0 || id >= vocabulary)
      throw Error(ErrorKind::unusable_input,
                  fmt::format("a token of {} is outside the vocabulary of {}: {}", of, vocabulary, id));
  };
  for (const std::int32_t id : request.prompt) judge_id(id, "the prompt");
  for (const auto& [id, bias] : request.logit_bias) judge_id(id, "logit_bias");
  const Sampler judged(request.sampler);
}

void BatchLoop::add(std::uint64_t ticket, std::size_t index, GenerationRequest request, EventCallback on_event) {
  waiting_.push_back(std::make_unique<RunningSequence>(ticket, index, std::move(request), std::move(on_event),
                                                       tokenizer_, token_list_, decoder_.isa()));
}

void BatchLoop::cancel(std::uint64_t ticket) {
  for (const Running& sequence : running_)
    if (sequence->ticket() == ticket) end(*sequence, FinishReason::cancelled);
  remove_ended();
  const auto kept = std::stable_partition(waiting_.begin(), waiting_.end(),
                                          [&](const Running& one) { return one->ticket() != ticket; });
  std::vector<Running> cancelled(std::make_move_iterator(kept), std::make_move_iterator(waiting_.end()));
  waiting_.erase(kept, waiting_.end());
  for (const Running& sequence : cancelled) sequence->finish(FinishReason::cancelled, {}, metrics_);
}

void BatchLoop::cancel_all() {
  while (!running_.empty()) cancel(running_.front()->ticket());
  while (!waiting_.empty()) cancel(waiting_.front()->ticket());
}

// Of no tokens there are recurrent states alone, of which each point has a copy.
std::uint64_t BatchLoop::bytes_of_sequence(const Decoder& decoder, std::size_t tokens) {
  return decoder.cache_bytes(tokens) + RememberedSequence::kMostPoints * decoder.cache_bytes(0);
}

std::uint64_t BatchLoop::bytes_of(std::size_t length) const {
  const std::size_t pages = (std::max<std::size_t>(length, 1) + kKvPage - 1) / kKvPage;
  return bytes_of_sequence(decoder_, std::min(pages * kKvPage, std::max(limits_.context, length)));
}

// With so many tokens more than its cache has now.
std::uint64_t BatchLoop::bytes_of(const RunningSequence& sequence, std::size_t more) const {
  const KvCache& cache = sequence.memory().cache();
  return std::max(cache.resident_bytes(), bytes_of(cache.length() + more));
}

// What all of them need to be read to their ends: a prompt half read is not made to wait by another.
std::uint64_t BatchLoop::bytes_of_running() const {
  std::uint64_t bytes = 0;
  for (const Running& sequence : running_) bytes += bytes_of(*sequence, sequence->unread());
  return bytes;
}

std::uint64_t BatchLoop::memory_in_use() const noexcept {
  std::uint64_t bytes = held_.resident_bytes();
  for (const Running& sequence : running_)
    if (sequence->has_memory()) bytes += sequence->memory().cache().resident_bytes();
  return bytes;
}

// Gives up held sequences until so many bytes are free beside those that are running.
bool BatchLoop::make_room_for(std::uint64_t bytes) {
  const std::uint64_t running = bytes_of_running();
  if (bytes > limits_.memory || running > limits_.memory - bytes) return false;
  while (held_.resident_bytes() > limits_.memory - bytes - running) held_.drop_oldest();
  return true;
}

void BatchLoop::admit() {
  while (!waiting_.empty() && running_.size() < limits_.most_sequences) {
    RunningSequence& next = *waiting_.front();
    // What is read, and a page to write in; more may be taken from held ones or from younger sequences later.
    const std::size_t length = std::min(next.tokens().size() + kKvPage, limits_.context);
    // Whoever takes a held sequence cuts it: not in vain.
    if (!running_.empty() && bytes_of_running() + bytes_of(length) > limits_.memory) return;
    HeldSequences::Taken taken;
    taken.reuse = PrefixReuse::asked_to_read;
    if (!next.request().tells_prompt) taken = held_.take(next.tokens());
    const std::uint64_t bytes =
        std::max(bytes_of(length), taken.sequence ? taken.sequence->cache().resident_bytes() : 0);
    if (!make_room_for(bytes) && !running_.empty()) {
      if (taken.sequence) held_.keep(std::move(*taken.sequence));
      return;
    }
    try {
      if (!taken.sequence) taken.sequence.emplace(decoder_.new_cache(limits_.context));
    } catch (const std::exception& error) {
      if (held_.drop_oldest()) continue;
      if (!running_.empty()) return;
      const Running failed = std::move(waiting_.front());
      waiting_.pop_front();
      failed->finish(FinishReason::failed, error.what(), metrics_);
      continue;
    }
    next.begin(std::move(*taken.sequence), taken.reuse);
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

// How many tokens a step takes.
std::size_t BatchLoop::budget(std::size_t decoding) const {
  if (limits_.step_tokens > 0) return limits_.step_tokens;
  if (seconds_per_token_ <= 0) return kFirstTokens;
  const double seconds = decoding > 0 ? kSharedStepSeconds : kLoneStepSeconds;
  return static_cast<std::size_t>(std::clamp(seconds / seconds_per_token_, double{kFewestTokens}, double{kMostTokens}));
}

// A step for each that is running, in their order. Texts come first; prompts share what is left.
std::vector<SequenceStep> BatchLoop::plan() {
  const auto decoding = static_cast<std::size_t>(
      std::ranges::count_if(running_, [](const Running& sequence) { return sequence->is_decoding(); }));
  std::size_t reading = running_.size() - decoding;
  const std::size_t whole = budget(decoding);
  std::size_t left = whole > decoding ? whole - decoding : 0;
  std::vector<SequenceStep> steps;
  for (const Running& sequence : running_) {
    if (sequence->is_decoding()) {
      steps.push_back(sequence->next_step(1));
      continue;
    }
    steps.push_back(sequence->next_step(std::max<std::size_t>(left / reading, 1)));
    left -= std::min(left, steps.back().tokens.size());
    --reading;
  }
  return steps;
}

bool BatchLoop::fits(const std::vector<SequenceStep>& steps) const {
  std::uint64_t bytes = held_.resident_bytes();
  for (std::size_t i = 0; i < steps.size(); ++i) bytes += bytes_of(*running_[i], steps[i].tokens.size());
  return bytes <= limits_.memory;
}

void BatchLoop::put_back_youngest() {
  running_.back()->put_back();  // and what it took is free
  waiting_.push_front(std::move(running_.back()));
  running_.pop_back();
  ++metrics_.preemptions;
}

bool BatchLoop::step() {
  admit();
  if (running_.empty()) return false;
  std::vector<SequenceStep> steps = plan();
  while (!fits(steps)) {
    if (held_.drop_oldest()) continue;
    if (running_.size() == 1) break;
    put_back_youngest();
    steps = plan();
  }
  ++metrics_.steps;
  run(steps);
  remove_ended();
  return true;
}

void BatchLoop::run(const std::vector<SequenceStep>& steps) {
  const std::size_t vocabulary = decoder_.config().vocab_size;
  std::size_t rows = 0, tokens = 0, reading = 0;
  for (const SequenceStep& step : steps) {
    rows += step.tokens.size() - step.first;
    tokens += step.tokens.size();
    reading += step.tokens.size() > 1 ? step.tokens.size() : 0;
  }
  const auto start = Clock::now();
  // What a prompt has taken whose probabilities were asked for is not kept for steps that need little.
  if (logits_.size() > kKeptLogits && rows * vocabulary <= kKeptLogits) std::vector<float>().swap(logits_);
  try {
    logits_.resize(std::max(logits_.size(), rows * vocabulary));
    decoder_.step(steps, std::span(logits_).first(rows * vocabulary));
  } catch (const std::exception&) {
    return run_apart(steps);
  }
  metrics_.read_tokens += tokens;
  if (reading >= kFewestTokens && reading * 2 > tokens) {
    const double found = seconds_since(start) / static_cast<double>(tokens);
    seconds_per_token_ = seconds_per_token_ <= 0 ? found : 0.7 * seconds_per_token_ + 0.3 * found;
  }
  std::size_t row = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::size_t count = steps[i].tokens.size() - steps[i].first;
    give_logits(*running_[i], steps[i], std::span(logits_).subspan(row * vocabulary, count * vocabulary));
    row += count;
  }
}

// After a step that failed: each by itself, so that no request suffers from another's. One that cannot be done even so
// fails.
void BatchLoop::run_apart(const std::vector<SequenceStep>& steps) {
  const std::size_t vocabulary = decoder_.config().vocab_size;
  while (held_.drop_oldest()) {
  }
  std::vector<std::size_t> begins;
  for (const Running& sequence : running_) begins.push_back(sequence->tokens().size() - sequence->unread());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const SequenceStep& step = steps[i];
    // What the failed step has emptied is read again from its beginning.
    if (step.tokens.data() != running_[i]->tokens().data() + begins[i]) continue;
    try {
      std::vector<float> logits((step.tokens.size() - step.first) * vocabulary);
      decoder_.step({&step, 1}, logits);
      metrics_.read_tokens += step.tokens.size();
      give_logits(*running_[i], step, logits);
    } catch (const std::exception& error) {
      end(*running_[i], FinishReason::failed, error.what());
    }
  }
}

void BatchLoop::give_logits(RunningSequence& sequence, const SequenceStep& step, std::span<const float> logits) {
  try {
    const std::size_t before = sequence.made();
    const bool is_done = sequence.take_logits(step, logits, decoder_.config().vocab_size, metrics_);
    metrics_.new_tokens += sequence.made() - before;
    if (is_done) end(sequence, FinishReason::stop);
  } catch (const std::exception& error) {
    end(sequence, FinishReason::failed, error.what());
  }
}

void BatchLoop::end(RunningSequence& sequence, FinishReason reason, std::string_view error) {
  RememberedSequence memory = sequence.put_back();
  ended_.push_back(&sequence);
  if (reason != FinishReason::failed) held_.keep(std::move(memory));
  sequence.finish(reason, error, metrics_);
}

std::size_t BatchLoop::running() const noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(running_, [](const Running& sequence) { return sequence->has_memory(); }));
}

void BatchLoop::remove_ended() {
  std::erase_if(running_,
                [&](const Running& sequence) { return std::ranges::find(ended_, sequence.get()) != ended_.end(); });
  ended_.clear();
}

std::vector<SequenceFacts> BatchLoop::facts() const {
  std::vector<SequenceFacts> facts;
  for (const Running& sequence : running_)
    if (sequence->has_memory())
      facts.push_back({sequence->ticket(), sequence->usage().prompt_tokens, sequence->usage().cached_tokens,
                       sequence->tokens().size() - sequence->unread(), sequence->usage().new_tokens});
  return facts;
}

}  // namespace nibble::serve
