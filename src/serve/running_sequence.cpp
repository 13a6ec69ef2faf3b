// SPDX-License-Identifier: Apache-2.0
#include "serve/running_sequence.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace nibble::serve {

namespace {

// Of a prompt whose every token's probability is asked for: bounds the logits of a step.
constexpr std::size_t kMostTold = 64;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

RunningSequence::RunningSequence(std::uint64_t ticket, std::size_t index, GenerationRequest request,
                                 EventCallback on_event, const Tokenizer& tokenizer, const TokenList& token_list,
                                 Isa isa)
    : ticket_(ticket),
      index_(index),
      request_(std::move(request)),
      on_event_(std::move(on_event)),
      tokenizer_(tokenizer),
      chooser_(request_, token_list, isa),
      stream_(request_.stop),
      tokens_(request_.prompt) {
  usage_.prompt_tokens = request_.prompt.size();
}

void RunningSequence::begin(RememberedSequence memory, PrefixReuse reuse) {
  memory_.emplace(std::move(memory));
  if (began_ != Clock::time_point()) {
    ++usage_.preemptions;
    return;
  }
  began_ = Clock::now();
  usage_.queue_seconds = seconds_between(request_.asked, began_);
  usage_.cached_tokens = memory_->cache().length();
  usage_.reuse = reuse;
}

RememberedSequence RunningSequence::put_back() {
  memory_->remember(tokens_);
  RememberedSequence memory = std::move(*memory_);
  memory_.reset();
  return memory;
}

SequenceStep RunningSequence::next_step(std::size_t most) {
  KvCache& cache = memory_->cache();
  const std::size_t at = cache.length();
  if (!is_prompt_told()) most = std::min(most, kMostTold);
  std::size_t end = at + std::min(std::max<std::size_t>(most, 1), unread());
  constexpr std::size_t kAfter = RememberedSequence::kAnswerBeginning;
  if (cache.needs_points() && request_.prompt.size() > kAfter && at < request_.prompt.size() - kAfter)
    end = std::min(end, request_.prompt.size() - kAfter);
  const std::size_t count = end - at;
  const std::size_t first = !is_prompt_told() ? 0 : end == tokens_.size() ? count - 1 : count;
  return {&cache, std::span<const std::int32_t>(tokens_).subspan(at, count), first};
}

bool RunningSequence::take_logits(const SequenceStep& step, std::span<const float> logits, std::size_t vocabulary,
                                  Metrics& metrics) {
  const std::size_t length = memory_->cache().length(), begin = length - step.tokens.size();
  constexpr std::size_t kAfter = RememberedSequence::kAnswerBeginning;
  if (memory_->cache().needs_points() && length + kAfter == request_.prompt.size()) memory_->save_point();
  if (!is_prompt_told()) {
    if (told_prompt_.empty()) told_prompt_.push_back({.id = tokens_.front()});
    for (std::size_t i = step.first; i < step.tokens.size(); ++i)
      if (const std::size_t next = begin + i + 1; next == told_prompt_.size() && next < request_.prompt.size())
        told_prompt_.push_back(chooser_.tell(logits.subspan((i - step.first) * vocabulary, vocabulary), tokens_[next]));
  }
  if (length < tokens_.size()) return false;
  return add_token(logits.last(vocabulary), metrics);
}

// True: it was the last one.
bool RunningSequence::add_token(std::span<const float> logits, Metrics& metrics) {
  const auto ends = [&](FinishReason reason) {
    due_ = reason;
    return true;
  };
  if (request_.max_tokens == 0) return ends(FinishReason::length);
  const std::int32_t id = chooser_.choose(logits, tokens_);
  const Clock::time_point now = Clock::now();
  if (first_token_ == Clock::time_point()) {
    first_token_ = now;
    usage_.prompt_seconds = seconds_between(began_, now);
    metrics.first_token.add(seconds_between(request_.asked, now));
  } else {
    metrics.between_tokens.add(seconds_between(last_token_, now));
  }
  last_token_ = now;
  if (tokenizer_.is_end(id) && !request_.ignore_end) return ends(FinishReason::stop);
  waiting_.push_back(chooser_.tell(logits, id));
  begins_.push_back(bytes_.size());
  tokens_.push_back(id);
  ++usage_.new_tokens;
  const std::string piece = tokenizer_.piece(id);
  bytes_ += piece;
  const std::string text = stream_.push(piece);
  if (!text.empty() || stream_.stopped()) tell(text, std::nullopt, {});
  if (stream_.stopped()) return ends(FinishReason::stop);
  if (made() == request_.max_tokens || memory_->cache().length() == memory_->cache().capacity())
    return ends(FinishReason::length);
  return false;
}

void RunningSequence::tell(const std::string& text, std::optional<FinishReason> finish, std::string_view error) {
  // Of the tokens those that begin in what was given out.
  const std::size_t certain = bytes_.size() - stream_.held_bytes();
  std::size_t count = 0;
  while (count < waiting_.size() && (begins_[count] < certain || (finish && !stream_.stopped()))) ++count;
  const std::span<const ToldToken> prompt =
      std::exchange(is_prompt_given_, true) ? std::span<const ToldToken>() : told_prompt_;
  std::string_view stop_text;
  if (finish && stream_.stopped())
    for (const std::string& stop : request_.stop)
      if (stop_text.empty() && std::string_view(bytes_).substr(certain).starts_with(stop)) stop_text = stop;
  on_event_({.index = index_,
             .text = text,
             .tokens = std::span<const ToldToken>(waiting_).first(count),
             .prompt = prompt,
             .finish = finish,
             .stop_text = stop_text,
             .error = error,
             .usage = &usage_});
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
  begins_.erase(begins_.begin(), begins_.begin() + static_cast<std::ptrdiff_t>(count));
}

void RunningSequence::finish(FinishReason reason, std::string_view error, Metrics& metrics) {
  if (due_ && reason != FinishReason::failed) reason = *due_;
  const Clock::time_point now = Clock::now();
  if (began_ == Clock::time_point()) usage_.queue_seconds = seconds_between(request_.asked, now);
  if (first_token_ != Clock::time_point()) usage_.decode_seconds = seconds_between(first_token_, now);
  metrics.queue.add(usage_.queue_seconds);
  metrics.prompt.add(usage_.prompt_seconds);
  metrics.decode.add(usage_.decode_seconds);
  metrics.whole.add(seconds_between(request_.asked, now));
  metrics.prompt_tokens += usage_.prompt_tokens;
  metrics.cached_tokens += usage_.cached_tokens;
  ++metrics.finished[static_cast<std::size_t>(reason)];
  tell(stream_.finish(), reason, error);
}

}  // namespace nibble::serve
