// SPDX-License-Identifier: Apache-2.0
//
// Answers of /v1/messages, as Anthropic's clients read them: a message of blocks, or a stream of named events. What a
// model thinks before it answers is a block of its own.
#pragma once

#include "serve/api/answer.h"
#include "serve/api/answer_blocks.h"

namespace nibble::serve {

struct MessagesAnswerSettings {
  std::string id, model;
  bool streams = false;
  std::size_t prompt_tokens = 0;
  AnswerSyntax syntax = {};
};

class MessagesAnswer final : public Answer {
 public:
  MessagesAnswer(std::shared_ptr<HttpExchange> exchange, MessagesAnswerSettings settings);

 private:
  std::string begin_stream() override;
  std::string stream_event(const GenerationEvent& event) override;
  std::string end_stream() override { return {}; }
  std::string stream_error(const ApiError& error) override;
  void collect(const GenerationEvent& event) override;
  Json whole() override;

  std::string event_of(const BlockChange& change) const;
  Json message(Json content) const;
  Json usage_of(const GenerationUsage& usage) const;
  Json stop_of(const GenerationEvent& event) const;

  MessagesAnswerSettings settings_;
  AnswerBlocks blocks_;
  Json ended_ = Json::object();  // stop_reason, stop_sequence
  GenerationUsage last_;
};

}  // namespace nibble::serve
