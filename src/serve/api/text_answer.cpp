// SPDX-License-Identifier: Apache-2.0
#include "serve/api/text_answer.h"

#include <utility>

#include "nibble/model.h"

namespace nibble::serve {

TextAnswer::TextAnswer(std::shared_ptr<HttpExchange> exchange, TextAnswerSettings settings, const Tokenizer& tokenizer)
    : Answer(std::move(exchange), settings.streams, settings.choices * settings.echoed.size(), settings.choices),
      settings_(std::move(settings)),
      tokenizer_(tokenizer),
      texts_(settings_.choices * settings_.echoed.size()) {}

// What an event adds to a text.
std::string TextAnswer::add(Text& text, const GenerationEvent& event) {
  std::string added;
  if (!std::exchange(text.has_begun, true)) {
    added = settings_.echoed[event.index / settings_.choices];
    text.logprobs.add(event.prompt, tokenizer_, !settings_.prompts_are_texts);
  }
  if (settings_.tells_logprobs) text.logprobs.add(event.tokens, tokenizer_, true);
  return added + std::string(event.text);
}

Json TextAnswer::choice_json(std::size_t index, std::string text, Json finish) {
  return {{"text", std::move(text)},
          {"index", index},
          {"logprobs", settings_.tells_logprobs ? texts_[index].logprobs.take() : Json(nullptr)},
          {"finish_reason", std::move(finish)}};
}

Json TextAnswer::object(Json choices) const {
  return {{"id", settings_.id},
          {"object", "text_completion"},
          {"created", settings_.created},
          {"model", settings_.model},
          {"system_fingerprint", "nibble-" + std::string(version())},
          {"choices", std::move(choices)}};
}

std::string TextAnswer::stream_event(const GenerationEvent& event) {
  std::string added = add(texts_[event.index], event), sent;
  const auto send = [&](std::string text, Json finish) {
    Json choices = Json::array();
    choices.push_back(choice_json(event.index, std::move(text), std::move(finish)));
    sent += server_event(object(std::move(choices)));
  };
  if (!added.empty() || !event.tokens.empty()) send(std::move(added), nullptr);
  if (event.finish) send("", finish_name(*event.finish));
  return sent;
}

std::string TextAnswer::end_stream() {
  std::string text;
  if (settings_.includes_usage) {
    Json last = object(Json::array());
    last["usage"] = usage_json(usage());
    text += server_event(last);
  }
  return text + "data: [DONE]\n\n";
}

void TextAnswer::collect(const GenerationEvent& event) {
  Text& text = texts_[event.index];
  text.text += add(text, event);
  if (event.finish) text.finish = finish_name(*event.finish);
}

Json TextAnswer::whole() {
  Json choices = Json::array();
  for (std::size_t i = 0; i < texts_.size(); ++i)
    choices.push_back(choice_json(i, std::move(texts_[i].text), texts_[i].finish));
  Json answer = object(std::move(choices));
  answer["usage"] = usage_json(usage());
  answer["timings"] = timings_json(usage());
  return answer;
}

}  // namespace nibble::serve
