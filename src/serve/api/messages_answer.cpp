// SPDX-License-Identifier: Apache-2.0
#include "serve/api/messages_answer.h"

#include <algorithm>
#include <utility>

namespace nibble::serve {

namespace {

// "event: NAME\ndata: {...}\n\n", the name being the data's type.
std::string named_event(const Json& data) {
  return "event: " + data["type"].get<std::string>() + "\n" + server_event(data);
}

}  // namespace

MessagesAnswer::MessagesAnswer(std::shared_ptr<HttpExchange> exchange, MessagesAnswerSettings settings)
    : Answer(std::move(exchange), settings.streams, 1, 1),
      settings_(std::move(settings)),
      stream_(settings_.marks, settings_.begins_in_reasoning) {}

std::vector<AnswerPart> MessagesAnswer::parts_of(const GenerationEvent& event) {
  std::vector<AnswerPart> parts = stream_.push(event.text);
  if (event.finish) std::ranges::move(stream_.finish(), std::back_inserter(parts));
  return parts;
}

// What was read and what was held are apart there.
Json MessagesAnswer::usage_of(const GenerationUsage& usage) const {
  return {{"input_tokens", settings_.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.new_tokens}};
}

Json MessagesAnswer::stop_of(const GenerationEvent& event) const {
  const char* reason = event.finish == FinishReason::length ? "max_tokens"
                       : event.stop_text.empty()            ? "end_turn"
                                                            : "stop_sequence";
  return {{"stop_reason", reason},
          {"stop_sequence", event.stop_text.empty() ? Json(nullptr) : Json(std::string(event.stop_text))}};
}

Json MessagesAnswer::message(Json content) const {
  return {{"id", settings_.id},
          {"type", "message"},
          {"role", "assistant"},
          {"model", settings_.model},
          {"content", std::move(content)}};
}

std::string MessagesAnswer::begin_stream() {
  Json begun = message(Json::array());
  begun["stop_reason"] = begun["stop_sequence"] = nullptr;
  begun["usage"] = usage_of({});
  return named_event({{"type", "message_start"}, {"message", std::move(begun)}});
}

std::string MessagesAnswer::open_block(bool is_reasoning) {
  is_open_ = true;
  is_reasoning_ = is_reasoning;
  Json block = is_reasoning ? Json{{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}
                            : Json{{"type", "text"}, {"text", ""}};
  return named_event({{"type", "content_block_start"}, {"index", block_}, {"content_block", std::move(block)}});
}

std::string MessagesAnswer::close_block() {
  if (!std::exchange(is_open_, false)) return {};
  return named_event({{"type", "content_block_stop"}, {"index", block_++}});
}

std::string MessagesAnswer::stream_event(const GenerationEvent& event) {
  std::string text;
  for (const AnswerPart& part : parts_of(event)) {
    if (is_open_ && is_reasoning_ != part.is_reasoning) text += close_block();
    if (!is_open_) text += open_block(part.is_reasoning);
    Json delta = part.is_reasoning ? Json{{"type", "thinking_delta"}, {"thinking", part.text}}
                                   : Json{{"type", "text_delta"}, {"text", part.text}};
    text += named_event({{"type", "content_block_delta"}, {"index", block_}, {"delta", std::move(delta)}});
  }
  if (!event.finish) return text;
  text += close_block();
  text += named_event({{"type", "message_delta"}, {"delta", stop_of(event)}, {"usage", usage_of(*event.usage)}});
  return text + named_event({{"type", "message_stop"}});
}

std::string MessagesAnswer::stream_error(const ApiError& error) { return named_event(error_json(error)); }

void MessagesAnswer::collect(const GenerationEvent& event) {
  for (const AnswerPart& part : parts_of(event)) (part.is_reasoning ? reasoning_ : text_) += part.text;
  if (!event.finish) return;
  ended_ = stop_of(event);
  last_ = *event.usage;
}

Json MessagesAnswer::whole() {
  Json content = Json::array();
  if (!reasoning_.empty())
    content.push_back({{"type", "thinking"}, {"thinking", std::move(reasoning_)}, {"signature", ""}});
  if (!text_.empty() || content.empty()) content.push_back({{"type", "text"}, {"text", std::move(text_)}});
  Json answer = message(std::move(content));
  answer.update(ended_);
  answer["usage"] = usage_of(last_);
  return answer;
}

}  // namespace nibble::serve
