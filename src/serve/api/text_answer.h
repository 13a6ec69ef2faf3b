// SPDX-License-Identifier: Apache-2.0
//
// Answers of /v1/completions: text_completion, whole or as a stream, with the prompt before it where that is asked for.
#pragma once

#include <ctime>

#include "model/tokenizer/tokenizer.h"
#include "serve/api/answer.h"
#include "serve/api/token_json.h"

namespace nibble::serve {

struct TextAnswerSettings {
  std::string id, model;
  std::time_t created = 0;
  bool streams = false, includes_usage = false, tells_logprobs = false;
  std::size_t choices = 1;
  // By prompt: what stands before the text; empty where it was not asked for.
  std::vector<std::string> echoed = {};
  bool prompts_are_texts = true;  // and not tokens
};

class TextAnswer final : public Answer {
 public:
  // tokenizer must outlive this.
  TextAnswer(std::shared_ptr<HttpExchange> exchange, TextAnswerSettings settings, const Tokenizer& tokenizer);

 private:
  struct Text {
    std::string text, finish;
    TextLogprobs logprobs = {};
    bool has_begun = false;
  };
  std::string begin_stream() override { return {}; }
  std::string stream_event(const GenerationEvent& event) override;
  std::string end_stream() override;
  void collect(const GenerationEvent& event) override;
  Json whole() override;

  std::string add(Text& text, const GenerationEvent& event);
  Json choice_json(std::size_t index, std::string text, Json finish);
  Json object(Json choices) const;

  TextAnswerSettings settings_;
  const Tokenizer& tokenizer_;
  std::vector<Text> texts_;
};

}  // namespace nibble::serve
