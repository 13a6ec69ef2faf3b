// SPDX-License-Identifier: Apache-2.0
#include "serve/api/messages_answer.h"

#include <utility>

#include "serve/api/cut_object.h"

namespace nibble::serve {

namespace {

// "event: NAME\ndata: {...}\n\n", the name being the data's type.
std::string named_event(const Json& data) {
  return "event: " + data["type"].get<std::string>() + "\n" + server_event(data);
}

Json block_json(const AnswerBlock& block) {
  if (block.kind == AnswerBlock::Kind::call) {
    // Of what a limit has cut, which the reason of the end tells, what is whole.
    return {{"type", "tool_use"}, {"id", block.id}, {"name", block.name}, {"input", whole_part_of(block.text)}};
  }
  if (block.kind == AnswerBlock::Kind::thought)
    return {{"type", "thinking"}, {"thinking", block.text}, {"signature", ""}};
  return {{"type", "text"}, {"text", block.text}};
}

Json delta_json(AnswerBlock::Kind kind, const std::string& text) {
  switch (kind) {
    case AnswerBlock::Kind::thought:
      return {{"type", "thinking_delta"}, {"thinking", text}};
    case AnswerBlock::Kind::call:
      return {{"type", "input_json_delta"}, {"partial_json", text}};
    default:
      return {{"type", "text_delta"}, {"text", text}};
  }
}

}  // namespace

MessagesAnswer::MessagesAnswer(std::shared_ptr<HttpExchange> exchange, MessagesAnswerSettings settings)
    : Answer(std::move(exchange), settings.streams, 1, 1),
      settings_(std::move(settings)),
      blocks_(settings_.syntax, settings_.id) {}

// What was read and what was held are apart there.
Json MessagesAnswer::usage_of(const GenerationUsage& usage) const {
  return {{"input_tokens", settings_.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.new_tokens}};
}

Json MessagesAnswer::stop_of(const GenerationEvent& event) const {
  const char* reason = event.finish == FinishReason::length ? "max_tokens"
                       : !event.stop_text.empty()           ? "stop_sequence"
                       : blocks_.has_whole_calls()          ? "tool_use"
                                                            : "end_turn";
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

std::string MessagesAnswer::event_of(const BlockChange& change) const {
  switch (change.kind) {
    case BlockChange::Kind::opened: {
      AnswerBlock empty = blocks_.all()[change.block];
      empty.text.clear();
      return named_event(
          {{"type", "content_block_start"}, {"index", change.block}, {"content_block", block_json(empty)}});
    }
    case BlockChange::Kind::grown:
      return named_event({{"type", "content_block_delta"},
                          {"index", change.block},
                          {"delta", delta_json(blocks_.all()[change.block].kind, change.text)}});
    case BlockChange::Kind::closed:
      return named_event({{"type", "content_block_stop"}, {"index", change.block}});
  }
  return {};
}

std::string MessagesAnswer::stream_event(const GenerationEvent& event) {
  std::string text;
  for (const BlockChange& change : blocks_.take(event)) text += event_of(change);
  if (!event.finish) return text;
  text += named_event({{"type", "message_delta"}, {"delta", stop_of(event)}, {"usage", usage_of(*event.usage)}});
  return text + named_event({{"type", "message_stop"}});
}

std::string MessagesAnswer::stream_error(const ApiError& error) { return named_event(error_json(error)); }

void MessagesAnswer::collect(const GenerationEvent& event) {
  blocks_.take(event);
  if (!event.finish) return;
  ended_ = stop_of(event);
  last_ = *event.usage;
}

Json MessagesAnswer::whole() {
  Json content = Json::array();
  for (const AnswerBlock& block : blocks_.all()) content.push_back(block_json(block));
  Json answer = message(std::move(content));
  answer.update(ended_);
  answer["usage"] = usage_of(last_);
  return answer;
}

}  // namespace nibble::serve
