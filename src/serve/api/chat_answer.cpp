// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_answer.h"

#include <fmt/format.h>

#include <utility>

#include "nibble/model.h"
#include "serve/api/token_json.h"

namespace nibble::serve {

namespace {

Json call_json(const AnswerBlock& block, const std::string& arguments) {
  return {{"id", block.id}, {"type", "function"}, {"function", {{"name", block.name}, {"arguments", arguments}}}};
}

// Of a stream; empty where a change is not told.
Json delta_of(const AnswerBlock& block, const BlockChange& change) {
  if (block.kind == AnswerBlock::Kind::call) {
    if (change.kind == BlockChange::Kind::closed) return Json::object();
    Json call = {{"index", block.number}};
    if (change.kind == BlockChange::Kind::opened)
      call.update(call_json(block, ""));
    else
      call["function"] = {{"arguments", change.text}};
    return {{"tool_calls", Json::array({std::move(call)})}};
  }
  if (change.kind != BlockChange::Kind::grown) return Json::object();
  return {{block.kind == AnswerBlock::Kind::thought ? "reasoning_content" : "content", change.text}};
}

}  // namespace

ChatAnswer::ChatAnswer(std::shared_ptr<HttpExchange> exchange, ChatAnswerSettings settings, const Tokenizer& tokenizer)
    : Answer(std::move(exchange), settings.streams, settings.choices, settings.choices),
      settings_(std::move(settings)),
      tokenizer_(tokenizer) {
  for (std::size_t i = 0; i < settings_.choices; ++i)
    choices_.push_back({.blocks = AnswerBlocks(settings_.syntax, fmt::format("{}/{}", settings_.id, i))});
}

std::vector<BlockChange> ChatAnswer::take_event(Choice& choice, const GenerationEvent& event) {
  std::vector<BlockChange> changes = choice.blocks.take(event);
  if (event.finish) {
    // What a limit or a stop text has cut is no call that may be carried out.
    choice.finish = choice.blocks.has_whole_calls() && event.finish == FinishReason::stop ? "tool_calls"
                                                                                          : finish_name(*event.finish);
    usage().reasoning_tokens += choice.blocks.reasoning_tokens();
  }
  return changes;
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
  Json logprobs = settings_.tells_logprobs ? chat_logprobs(event.tokens, tokenizer_) : Json::array();
  const auto add = [&](Json delta) {
    Json one = chunk_of(event.index, std::move(delta), nullptr);
    if (!logprobs.empty())
      one["choices"][0]["logprobs"] = {{"content", std::exchange(logprobs, Json::array())}, {"refusal", nullptr}};
    text += server_event(one);
  };
  for (const BlockChange& change : take_event(choice, event))
    if (Json delta = delta_of(choice.blocks.all()[change.block], change); !delta.empty()) add(std::move(delta));
  // Tokens whose text is held back, as marks are, still have their probabilities told.
  if (!logprobs.empty()) add({{"content", ""}});
  // The end is a chunk of its own.
  if (event.finish) text += server_event(chunk_of(event.index, Json::object(), choice.finish));
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
  take_event(choice, event);
  if (settings_.tells_logprobs)
    for (Json& one : chat_logprobs(event.tokens, tokenizer_)) choice.logprobs.push_back(std::move(one));
}

Json ChatAnswer::whole() {
  Json choices = Json::array();
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    Json message = {
        {"role", "assistant"}, {"content", choice.blocks.text_of(AnswerBlock::Kind::text)}, {"refusal", nullptr}};
    if (choice.blocks.has_calls()) {
      if (message["content"] == "") message["content"] = nullptr;
      message["tool_calls"] = Json::array();
      for (const AnswerBlock& block : choice.blocks.all())
        if (block.kind == AnswerBlock::Kind::call) message["tool_calls"].push_back(call_json(block, block.text));
    }
    if (std::string thought = choice.blocks.text_of(AnswerBlock::Kind::thought); !thought.empty())
      message["reasoning_content"] = std::move(thought);
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
