// SPDX-License-Identifier: Apache-2.0
//
// Answers of /v1/chat/completions: chat.completion, or a stream of chat.completion.chunk. What a model thinks before it
// answers is apart, as reasoning_content.
#pragma once

#include "model/tokenizer/tokenizer.h"
#include "serve/api/answer.h"
#include "serve/api/answer_blocks.h"

namespace nibble::serve {

struct ChatAnswerSettings {
  std::string id, model;
  std::time_t created = 0;
  bool streams = false, includes_usage = false, tells_logprobs = false;
  std::size_t choices = 1;
  AnswerSyntax syntax = {};
};

class ChatAnswer final : public Answer {
 public:
  // tokenizer must outlive this.
  ChatAnswer(std::shared_ptr<HttpExchange> exchange, ChatAnswerSettings settings, const Tokenizer& tokenizer);

 private:
  struct Choice {
    AnswerBlocks blocks;
    std::string finish = {};
    Json logprobs = Json::array();
  };
  std::string begin_stream() override;
  std::string stream_event(const GenerationEvent& event) override;
  std::string end_stream() override;
  void collect(const GenerationEvent& event) override;
  Json whole() override;

  std::vector<BlockChange> take_event(Choice& choice, const GenerationEvent& event);
  Json chunk(Json choices) const;
  Json chunk_of(std::size_t index, Json delta, Json finish) const;

  ChatAnswerSettings settings_;
  const Tokenizer& tokenizer_;
  std::vector<Choice> choices_;
};

}  // namespace nibble::serve
