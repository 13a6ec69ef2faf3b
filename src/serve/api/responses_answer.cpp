// SPDX-License-Identifier: Apache-2.0
#include "serve/api/responses_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace nibble::serve {

ResponsesAnswer::ResponsesAnswer(std::shared_ptr<HttpExchange> exchange, ResponsesAnswerSettings settings)
    : Answer(std::move(exchange), settings.streams, 1, 1),
      settings_(std::move(settings)),
      stream_(settings_.marks, settings_.begins_in_reasoning) {}

std::string ResponsesAnswer::event(const char* type, Json fields) {
  Json data = {{"type", type}, {"sequence_number", number_++}};
  data.update(fields);
  return fmt::format("event: {}\n{}", type, server_event(data));
}

Json ResponsesAnswer::response(const char* status) const {
  const bool is_cut = finish_ == FinishReason::length;
  Json answer = {{"id", "resp_" + settings_.id},
                 {"object", "response"},
                 {"created_at", settings_.created},
                 {"status", status},
                 {"error", nullptr},
                 {"incomplete_details", is_cut ? Json{{"reason", "max_output_tokens"}} : Json(nullptr)},
                 {"model", settings_.model},
                 {"output", output_},
                 {"parallel_tool_calls", true},
                 {"previous_response_id", nullptr},
                 {"store", false},
                 {"text", {{"format", {{"type", "text"}}}}},
                 {"tool_choice", "auto"},
                 {"tools", Json::array()},
                 {"truncation", "disabled"},
                 {"metadata", Json::object()},
                 {"usage", nullptr}};
  answer.update(settings_.asked);
  if (finish_)
    answer["usage"] = {{"input_tokens", last_.prompt_tokens},
                       {"input_tokens_details", {{"cached_tokens", last_.cached_tokens}}},
                       {"output_tokens", last_.new_tokens},
                       {"output_tokens_details", {{"reasoning_tokens", reasoning_tokens_}}},
                       {"total_tokens", last_.prompt_tokens + last_.new_tokens}};
  return answer;
}

Json ResponsesAnswer::part() const {
  if (is_reasoning_) return {{"type", "reasoning_text"}, {"text", text_}};
  return {{"type", "output_text"}, {"text", text_}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

Json ResponsesAnswer::item(const char* status, bool has_content) const {
  Json content = Json::array();
  if (has_content) content.push_back(part());
  const std::string id = fmt::format("{}_{}_{}", is_reasoning_ ? "rs" : "msg", settings_.id, output_.size());
  if (is_reasoning_)
    return {{"type", "reasoning"},
            {"id", id},
            {"summary", Json::array()},
            {"content", std::move(content)},
            {"status", status}};
  return {{"type", "message"}, {"id", id}, {"status", status}, {"role", "assistant"}, {"content", std::move(content)}};
}

// Where the text of the item that is open stands.
Json ResponsesAnswer::place() const {
  return {{"item_id", item("", false)["id"]}, {"output_index", output_.size()}, {"content_index", 0}};
}

std::string ResponsesAnswer::open_item(bool is_reasoning) {
  is_open_ = true;
  is_reasoning_ = is_reasoning;
  text_.clear();
  Json added = place();
  added["part"] = part();
  // One after the other: each takes the next number.
  std::string text =
      event("response.output_item.added", {{"output_index", output_.size()}, {"item", item("in_progress", false)}});
  text += event("response.content_part.added", std::move(added));
  return text;
}

std::string ResponsesAnswer::close_item() {
  if (!std::exchange(is_open_, false)) return {};
  Json done = place(), done_part = place();
  done["text"] = text_;
  if (!is_reasoning_) done["logprobs"] = Json::array();
  done_part["part"] = part();
  const Json whole = item(finish_ == FinishReason::length ? "incomplete" : "completed", true);
  std::string text =
      event(is_reasoning_ ? "response.reasoning_text.done" : "response.output_text.done", std::move(done));
  text += event("response.content_part.done", std::move(done_part));
  text += event("response.output_item.done", {{"output_index", output_.size()}, {"item", whole}});
  output_.push_back(whole);
  return text;
}

std::string ResponsesAnswer::take_parts(const GenerationEvent& given) {
  std::vector<AnswerPart> parts = stream_.push(given.text);
  if (given.finish) std::ranges::move(stream_.finish(), std::back_inserter(parts));
  std::string text;
  for (const AnswerPart& one : parts) {
    if (is_open_ && is_reasoning_ != one.is_reasoning) text += close_item();
    if (!is_open_) text += open_item(one.is_reasoning);
    if (one.is_reasoning) reasoning_tokens_ += given.tokens.size();
    text_ += one.text;
    Json delta = place();
    delta["delta"] = one.text;
    if (!is_reasoning_) delta["logprobs"] = Json::array();
    text += event(is_reasoning_ ? "response.reasoning_text.delta" : "response.output_text.delta", std::move(delta));
  }
  if (!given.finish) return text;
  finish_ = given.finish;
  last_ = *given.usage;
  if (!is_open_ && output_.empty()) text += open_item(false);
  return text + close_item();
}

std::string ResponsesAnswer::begin_stream() {
  std::string text = event("response.created", {{"response", response("in_progress")}});
  text += event("response.in_progress", {{"response", response("in_progress")}});
  return text;
}

std::string ResponsesAnswer::stream_event(const GenerationEvent& given) {
  std::string text = take_parts(given);
  if (!given.finish) return text;
  const bool is_cut = finish_ == FinishReason::length;
  return text + event(is_cut ? "response.incomplete" : "response.completed",
                      {{"response", response(is_cut ? "incomplete" : "completed")}});
}

std::string ResponsesAnswer::stream_error(const ApiError& error) {
  return event("error", {{"code", "server_error"}, {"message", error.what()}, {"param", nullptr}});
}

void ResponsesAnswer::collect(const GenerationEvent& given) { take_parts(given); }

Json ResponsesAnswer::whole() { return response(finish_ == FinishReason::length ? "incomplete" : "completed"); }

}  // namespace nibble::serve
