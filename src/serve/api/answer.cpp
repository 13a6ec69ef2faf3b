// SPDX-License-Identifier: Apache-2.0
#include "serve/api/answer.h"

#include <utility>

namespace nibble::serve {

namespace {

constexpr const char* kPing = ": ping\n\n";

double per_second(std::size_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

}  // namespace

std::string server_event(const Json& json) { return "data: " + line_of(json) + "\n\n"; }

Json usage_json(const AnswerUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.new_tokens},
          {"total_tokens", usage.prompt_tokens + usage.new_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

Json timings_json(const AnswerUsage& usage) {
  const GenerationUsage& first = usage.first;
  const std::size_t read = first.prompt_tokens - first.cached_tokens;
  return {{"cache_n", first.cached_tokens},
          {"prompt_n", read},
          {"prompt_ms", first.prompt_seconds * 1000},
          {"prompt_per_second", per_second(read, first.prompt_seconds)},
          {"predicted_n", first.new_tokens},
          {"predicted_ms", first.decode_seconds * 1000},
          {"predicted_per_second", per_second(first.new_tokens, first.decode_seconds)}};
}

Answer::Answer(std::shared_ptr<HttpExchange> exchange, bool streams, std::size_t texts, std::size_t choices)
    : exchange_(std::move(exchange)), streams_(streams), texts_(texts), choices_(choices) {}

void Answer::begin() {
  const std::lock_guard lock(mutex_);
  begin_locked();
}

void Answer::begin_locked() {
  if (!streams_ || has_failed_ || std::exchange(has_begun_, true)) return;
  exchange_->begin_stream({.content_type = "text/event-stream; charset=utf-8"}, kPing);
  exchange_->send(begin_stream());
}

void Answer::fail(const ApiError& error, unsigned retry_seconds) {
  const std::lock_guard lock(mutex_);
  has_failed_ = true;
  if (!has_begun_) return exchange_->answer(error_answer(error, retry_seconds));
  exchange_->send(stream_error(error));
  exchange_->end_stream();
}

void Answer::take(const GenerationEvent& event) {
  const std::lock_guard lock(mutex_);
  if (event.finish == FinishReason::failed && error_.empty()) error_ = event.error;
  // Its client has left and reads none of this, or the server ends: no end of a text, so none is told.
  if (event.finish == FinishReason::cancelled && error_.empty()) {
    is_cancelled_ = true;
    error_ = "the server is shutting down";
  }
  begin_locked();
  if (!streams_)
    collect(event);
  else if (error_.empty())
    exchange_->send(stream_event(event));
  if (!event.finish) return;
  finish_ = *event.finish;
  usage_.new_tokens += event.usage->new_tokens;
  if (event.index % choices_ == 0) {
    usage_.prompt_tokens += event.usage->prompt_tokens;
    usage_.cached_tokens += event.usage->cached_tokens;
  }
  if (event.index == 0) usage_.first = *event.usage;
  if (++ended_ == texts_) end();
}

std::string Answer::stream_error(const ApiError& error) { return server_event(error_json(error)); }

void Answer::end() {
  AnswerSummary summary{.status = is_cancelled_    ? 503
                                  : error_.empty() ? 200
                                                   : 500,
                        .usage = usage_,
                        .finish = std::string(finish_name(is_cancelled_ ? FinishReason::cancelled : finish_)),
                        .error = is_cancelled_ ? std::string() : error_};
  if (on_end_) on_end_(summary);
  if (streams_) {
    exchange_->send(error_.empty() ? end_stream() : stream_error({summary.status, error_}));
    exchange_->end_stream();
  } else if (error_.empty()) {
    exchange_->answer({.body = line_of(whole())});
  } else {
    exchange_->answer(error_answer({summary.status, error_}));
  }
}

}  // namespace nibble::serve
