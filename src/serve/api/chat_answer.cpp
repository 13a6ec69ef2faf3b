// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_answer.h"

#include <algorithm>
#include <utility>

#include "nibble/model.h"
#include "serve/api/token_json.h"

namespace nibble::serve {

ChatAnswer::ChatAnswer(std::shared_ptr<HttpExchange> exchange, ChatAnswerSettings settings, const Tokenizer& tokenizer)
    : Answer(std::move(exchange), settings.streams, settings.choices, settings.choices),
      settings_(std::move(settings)),
      tokenizer_(tokenizer) {
  for (std::size_t i = 0; i < settings_.choices; ++i)
    choices_.push_back({.stream = ReasoningStream(settings_.marks, settings_.begins_in_reasoning),
                        .text = {},
                        .reasoning = {},
                        .finish = {}});
}

// What is certain now, and at the end the rest.
std::vector<AnswerPart> ChatAnswer::parts_of(Choice& choice, const GenerationEvent& event) {
  std::vector<AnswerPart> parts = choice.stream.push(event.text);
  if (event.finish) std::ranges::move(choice.stream.finish(), std::back_inserter(parts));
  const bool thinks = std::ranges::any_of(parts, &AnswerPart::is_reasoning);
  const bool answers = std::ranges::any_of(parts, [](const AnswerPart& part) { return !part.is_reasoning; });
  if (thinks && !answers) usage().reasoning_tokens += event.tokens.size();
  return parts;
}

Json ChatAnswer::chunk(Json choices) const {
  return {{"id", settings_.id},
          {"object", "chat.completion.chunk"},
          {"created", settings_.created},
          {"model", settings_.model},
          {"system_fingerprint", "nibble-" + std::string(version())},
          {"choices", std::move(choices)}};
}

Json ChatAnswer::chunk_of(std::size_t index, Json delta, Json finish) const {
  Json choices = Json::array();
  choices.push_back(
      {{"index", index}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", std::move(finish)}});
  return chunk(std::move(choices));
}

std::string ChatAnswer::begin_stream() {
  std::string text;
  for (std::size_t i = 0; i < choices_.size(); ++i)
    text += server_event(chunk_of(i, {{"role", "assistant"}, {"content", ""}}, nullptr));
  return text;
}

std::string ChatAnswer::stream_event(const GenerationEvent& event) {
  Choice& choice = choices_[event.index];
  std::string text;
  std::vector<AnswerPart> parts = parts_of(choice, event);
  Json logprobs = settings_.tells_logprobs ? chat_logprobs(event.tokens, tokenizer_) : Json::array();
  // Tokens whose text is held back, as marks are, still have their probabilities told.
  if (parts.empty() && !logprobs.empty()) parts.push_back({});
  for (const AnswerPart& part : parts) {
    Json one = chunk_of(event.index, {{part.is_reasoning ? "reasoning_content" : "content", part.text}}, nullptr);
    if (!logprobs.empty())
      one["choices"][0]["logprobs"] = {{"content", std::exchange(logprobs, Json::array())}, {"refusal", nullptr}};
    text += server_event(one);
  }
  // The end is a chunk of its own.
  if (event.finish) text += server_event(chunk_of(event.index, Json::object(), finish_name(*event.finish)));
  return text;
}

std::string ChatAnswer::end_stream() {
  std::string text;
  if (settings_.includes_usage) {
    Json last = chunk(Json::array());
    last["usage"] = usage_json(usage());
    last["timings"] = timings_json(usage());
    text += server_event(last);
  }
  return text + "data: [DONE]\n\n";
}

void ChatAnswer::collect(const GenerationEvent& event) {
  Choice& choice = choices_[event.index];
  for (const AnswerPart& part : parts_of(choice, event))
    (part.is_reasoning ? choice.reasoning : choice.text) += part.text;
  if (settings_.tells_logprobs)
    for (Json& one : chat_logprobs(event.tokens, tokenizer_)) choice.logprobs.push_back(std::move(one));
  if (event.finish) choice.finish = finish_name(*event.finish);
}

Json ChatAnswer::whole() {
  Json choices = Json::array();
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    Json message = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
    if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
    Json logprobs = nullptr;
    if (settings_.tells_logprobs) logprobs = {{"content", std::move(choice.logprobs)}, {"refusal", nullptr}};
    choices.push_back({{"index", i},
                       {"message", std::move(message)},
                       {"logprobs", std::move(logprobs)},
                       {"finish_reason", choice.finish}});
  }
  Json answer = chunk(std::move(choices));
  answer["object"] = "chat.completion";
  answer["usage"] = usage_json(usage());
  answer["timings"] = timings_json(usage());
  return answer;
}

}  // namespace nibble::serve
