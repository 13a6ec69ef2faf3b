// SPDX-License-Identifier: Apache-2.0
//
// Answers of /v1/responses: a response of items, or a stream of numbered events. What a model thinks before it answers
// is an item of its own.
#pragma once

#include <ctime>

#include "model/chat/reasoning.h"
#include "serve/api/answer.h"

namespace nibble::serve {

struct ResponsesAnswerSettings {
  std::string id, model;
  std::time_t created = 0;
  bool streams = false;
  Json asked = Json::object();  // fields of the request that the response repeats
  std::optional<ReasoningMarks> marks = {};
  bool begins_in_reasoning = false;
};

class ResponsesAnswer final : public Answer {
 public:
  ResponsesAnswer(std::shared_ptr<HttpExchange> exchange, ResponsesAnswerSettings settings);

 private:
  std::string begin_stream() override;
  std::string stream_event(const GenerationEvent& event) override;
  std::string end_stream() override { return {}; }
  std::string stream_error(const ApiError& error) override;
  void collect(const GenerationEvent& event) override;
  Json whole() override;

  std::string take_parts(const GenerationEvent& event);
  std::string open_item(bool is_reasoning);
  std::string close_item();
  Json item(const char* status, bool has_content) const;
  Json part() const;
  Json place() const;
  std::string event(const char* type, Json fields);
  Json response(const char* status) const;

  ResponsesAnswerSettings settings_;
  ReasoningStream stream_;
  Json output_ = Json::array();  // items that are whole
  std::string text_;             // of the item that is open
  bool is_open_ = false, is_reasoning_ = false;
  std::size_t number_ = 0;  // of the next event
  std::optional<FinishReason> finish_;
  GenerationUsage last_;
  std::size_t reasoning_tokens_ = 0;
};

}  // namespace nibble::serve
