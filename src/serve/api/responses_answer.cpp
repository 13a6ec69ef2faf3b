// SPDX-License-Identifier: Apache-2.0
#include "serve/api/responses_answer.h"

#include <fmt/format.h>

#include <utility>

namespace nibble::serve {

namespace {

constexpr const char* kGrows = "in_progress";

Json part_json(const AnswerBlock& block) {
  if (block.kind == AnswerBlock::Kind::thought) return {{"type", "reasoning_text"}, {"text", block.text}};
  return {{"type", "output_text"}, {"text", block.text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

}  // namespace

ResponsesAnswer::ResponsesAnswer(std::shared_ptr<HttpExchange> exchange, ResponsesAnswerSettings settings)
    : Answer(std::move(exchange), settings.streams, 1, 1),
      settings_(std::move(settings)),
      blocks_(settings_.syntax, settings_.id) {}

std::string ResponsesAnswer::event(const char* type, Json fields) {
  Json data = {{"type", type}, {"sequence_number", number_++}};
  data.update(fields);
  return fmt::format("event: {}\n{}", type, server_event(data));
}

// By a limit, or by a stop text within a call, which then may not be carried out.
bool ResponsesAnswer::is_cut() const noexcept {
  return finish_ == FinishReason::length ||
         (finish_ == FinishReason::stop && blocks_.has_calls() && !blocks_.has_whole_calls());
}

Json ResponsesAnswer::response(const char* status) const {
  Json details = nullptr;
  if (is_cut()) details = {{"reason", finish_ == FinishReason::length ? "max_output_tokens" : "stop"}};
  Json answer = {{"id", "resp_" + settings_.id},
                 {"object", "response"},
                 {"created_at", settings_.created},
                 {"status", status},
                 {"error", nullptr},
                 {"incomplete_details", std::move(details)},
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
                       {"output_tokens_details", {{"reasoning_tokens", blocks_.reasoning_tokens()}}},
                       {"total_tokens", last_.prompt_tokens + last_.new_tokens}};
  return answer;
}

Json ResponsesAnswer::item(std::size_t block, const char* status) const {
  const AnswerBlock& one = blocks_.all()[block];
  Json content = Json::array();
  // While it grows it has none.
  if (std::string_view(status) != kGrows) content.push_back(part_json(one));
  if (one.kind == AnswerBlock::Kind::call)
    return {{"type", "function_call"},
            {"id", fmt::format("fc_{}_{}", settings_.id, block)},
            {"call_id", one.id},
            {"name", one.name},
            {"arguments", std::string_view(status) == kGrows ? "" : one.text},
            {"status", status}};
  if (one.kind == AnswerBlock::Kind::thought)
    return {{"type", "reasoning"},
            {"id", fmt::format("rs_{}_{}", settings_.id, block)},
            {"summary", Json::array()},
            {"content", std::move(content)},
            {"status", status}};
  return {{"type", "message"},
          {"id", fmt::format("msg_{}_{}", settings_.id, block)},
          {"status", status},
          {"role", "assistant"},
          {"content", std::move(content)}};
}

// Where the text of an item stands.
Json ResponsesAnswer::place(std::size_t block) const {
  Json place = {{"item_id", item(block, kGrows)["id"]}, {"output_index", block}};
  if (blocks_.all()[block].kind != AnswerBlock::Kind::call) place["content_index"] = 0;
  return place;
}

std::string ResponsesAnswer::opened(std::size_t block) {
  const AnswerBlock::Kind kind = blocks_.all()[block].kind;
  // One after the other: each takes the next number.
  std::string text = event("response.output_item.added", {{"output_index", block}, {"item", item(block, kGrows)}});
  if (kind == AnswerBlock::Kind::call) return text;
  Json added = place(block);
  added["part"] = part_json({.kind = kind});
  text += event("response.content_part.added", std::move(added));
  return text;
}

std::string ResponsesAnswer::closed(std::size_t block) {
  const AnswerBlock& one = blocks_.all()[block];
  const bool is_last_cut = is_cut() && block + 1 == blocks_.all().size();
  const Json whole = item(block, is_last_cut ? "incomplete" : "completed");
  Json done = place(block);
  std::string text;
  if (one.kind == AnswerBlock::Kind::call) {
    done.update({{"name", one.name}, {"arguments", one.text}});
    text = event("response.function_call_arguments.done", std::move(done));
  } else {
    const bool is_thought = one.kind == AnswerBlock::Kind::thought;
    Json done_part = done;
    done["text"] = one.text;
    if (!is_thought) done["logprobs"] = Json::array();
    done_part["part"] = part_json(one);
    text = event(is_thought ? "response.reasoning_text.done" : "response.output_text.done", std::move(done));
    text += event("response.content_part.done", std::move(done_part));
  }
  text += event("response.output_item.done", {{"output_index", block}, {"item", whole}});
  output_.push_back(whole);
  return text;
}

std::string ResponsesAnswer::take_event(const GenerationEvent& given) {
  if (given.finish) {
    finish_ = given.finish;
    last_ = *given.usage;
  }
  std::string text;
  for (BlockChange& change : blocks_.take(given)) {
    if (change.kind == BlockChange::Kind::opened) {
      text += opened(change.block);
    } else if (change.kind == BlockChange::Kind::closed) {
      text += closed(change.block);
    } else {
      const AnswerBlock::Kind kind = blocks_.all()[change.block].kind;
      Json delta = place(change.block);
      delta["delta"] = std::move(change.text);
      if (kind == AnswerBlock::Kind::text) delta["logprobs"] = Json::array();
      text += event(kind == AnswerBlock::Kind::call      ? "response.function_call_arguments.delta"
                    : kind == AnswerBlock::Kind::thought ? "response.reasoning_text.delta"
                                                         : "response.output_text.delta",
                    std::move(delta));
    }
  }
  return text;
}

std::string ResponsesAnswer::begin_stream() {
  std::string text = event("response.created", {{"response", response("in_progress")}});
  text += event("response.in_progress", {{"response", response("in_progress")}});
  return text;
}

std::string ResponsesAnswer::stream_event(const GenerationEvent& given) {
  std::string text = take_event(given);
  if (!given.finish) return text;
  return text + event(is_cut() ? "response.incomplete" : "response.completed",
                      {{"response", response(is_cut() ? "incomplete" : "completed")}});
}

std::string ResponsesAnswer::stream_error(const ApiError& error) {
  return event("error", {{"code", "server_error"}, {"message", error.what()}, {"param", nullptr}});
}

void ResponsesAnswer::collect(const GenerationEvent& given) { take_event(given); }

Json ResponsesAnswer::whole() { return response(is_cut() ? "incomplete" : "completed"); }

}  // namespace nibble::serve
