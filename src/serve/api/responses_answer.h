// SPDX-License-Identifier: Apache-2.0
//
// Answers of /v1/responses: a response of items, or a stream of numbered events. What a model thinks before it answers
// is an item of its own.
#pragma once

#include <ctime>

#include "serve/api/answer.h"
#include "serve/api/answer_blocks.h"

namespace nibble::serve {

struct ResponsesAnswerSettings {
  std::string id, model;
  std::time_t created = 0;
  bool streams = false;
  Json asked = Json::object();  // fields of the request that the response repeats
  AnswerSyntax syntax = {};
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

  std::string take_event(const GenerationEvent& event);
  std::string opened(std::size_t block);
  std::string closed(std::size_t block);
  Json item(std::size_t block, const char* status) const;
  Json place(std::size_t block) const;
  std::string event(const char* type, Json fields);
  Json response(const char* status) const;
  bool is_cut() const noexcept;

  ResponsesAnswerSettings settings_;
  AnswerBlocks blocks_;          // an item each
  Json output_ = Json::array();  // items that are whole
  std::size_t number_ = 0;       // of the next event
  std::optional<FinishReason> finish_;
  GenerationUsage last_;
};

}  // namespace nibble::serve
