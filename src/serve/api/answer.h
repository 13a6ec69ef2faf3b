// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a request's events on their way to its client: one JSON text at the end, or a stream of server-sent
// events. What the JSON looks like is a kind's own (chat_answer.h, text_answer.h). begin() and take() may come from
// different threads.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/api/api_error.h"
#include "serve/generation.h"
#include "serve/http/http_server.h"

namespace nibble::serve {

// Of all texts of a request.
struct AnswerUsage {
  std::size_t prompt_tokens = 0, cached_tokens = 0, new_tokens = 0, reasoning_tokens = 0;
  GenerationUsage first{};  // of the first text: its times
};

// Told once for each request.
struct AnswerSummary {
  int status = 200;
  AnswerUsage usage{};
  std::string finish{};  // "stop", "length", "cancelled", "failed"; of the last text to end
  std::string error{};
};

class Answer {
 public:
  using SummaryCallback = std::function<void(const AnswerSummary&)>;

  // texts: how many there will be; prompts: every choices-th of them has another prompt.
  Answer(std::shared_ptr<HttpExchange> exchange, bool streams, std::size_t texts, std::size_t choices);
  virtual ~Answer() = default;

  void on_end(SummaryCallback callback) { on_end_ = std::move(callback); }
  // The head of a stream. Not before the request is taken.
  void begin();
  void take(const GenerationEvent& event);
  // In place of events: whole, or as the end of a stream that has begun. on_end is not told. retry_seconds: as
  // error_answer's.
  void fail(const ApiError& error, unsigned retry_seconds = 0);

 protected:
  bool streams() const noexcept { return streams_; }
  const AnswerUsage& usage() const noexcept { return usage_; }
  AnswerUsage& usage() noexcept { return usage_; }

 private:
  // A stream's beginning, what an event adds to it, and its end; "" for nothing.
  virtual std::string begin_stream() = 0;
  virtual std::string stream_event(const GenerationEvent& event) = 0;
  virtual std::string end_stream() = 0;
  virtual std::string stream_error(const ApiError& error);
  // What an event adds to an answer that is sent whole; and that.
  virtual void collect(const GenerationEvent& event) = 0;
  virtual Json whole() = 0;

  void begin_locked();
  void end();

  std::shared_ptr<HttpExchange> exchange_;
  bool streams_;
  std::size_t texts_, choices_;
  std::mutex mutex_;
  bool has_begun_ = false, is_cancelled_ = false, has_failed_ = false;
  std::size_t ended_ = 0;
  std::string error_;
  FinishReason finish_ = FinishReason::stop;
  AnswerUsage usage_;
  SummaryCallback on_end_;
};

// "data: {...}\n\n"
std::string server_event(const Json& json);

// "prompt_tokens", "completion_tokens", "total_tokens" and their details.
Json usage_json(const AnswerUsage& usage);
// How long it took, as llama-server tells it.
Json timings_json(const AnswerUsage& usage);

}  // namespace nibble::serve
