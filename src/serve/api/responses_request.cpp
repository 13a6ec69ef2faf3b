// SPDX-License-Identifier: Apache-2.0
#include "serve/api/responses_request.h"

#include <fmt/format.h>

#include <array>

namespace nibble::serve {

namespace {

void add_item(const Json& item, std::size_t i, Json& messages) {
  const auto refuse = [&](const std::string& what) {
    throw ApiError(400, fmt::format("input[{}]: {}", i, what), fmt::format("input[{}]", i));
  };
  if (!item.is_object()) refuse("an item is an object");
  const Json type = item.value("type", Json("message"));
  if (type == "message") {
    if (!item.value("role", Json()).is_string()) refuse("the role is missing");
    if (item.value("content", Json()).is_null() && item["role"] != "assistant") refuse("the content is missing");
    messages.push_back(
        {{"role", item.value("role", Json(nullptr))}, {"content", item.value("content", Json(nullptr))}});
  } else if (type == "function_call") {
    Json call = {
        {"id", item.value("call_id", Json(""))},
        {"type", "function"},
        {"function", {{"name", item.value("name", Json(""))}, {"arguments", item.value("arguments", Json(""))}}}};
    // What was said and called in one turn is one message.
    if (messages.empty() || messages.back()["role"] != "assistant")
      messages.push_back({{"role", "assistant"}, {"content", nullptr}});
    messages.back()["tool_calls"].push_back(std::move(call));
  } else if (type == "function_call_output") {
    messages.push_back({{"role", "tool"},
                        {"tool_call_id", item.value("call_id", Json(""))},
                        {"content", item.value("output", Json(""))}});
  } else if (type != "reasoning") {
    refuse("the model reads messages and calls of functions, and not an item of type " + line_of(type));
  }
}

// Functions there have no object of their own.
void add_tools(const RequestFields& fields, Json& chat) {
  const auto nested = [](const Json& flat) {
    Json function = flat;
    function.erase("type");
    return Json{{"type", flat.value("type", Json("function"))}, {"function", std::move(function)}};
  };
  if (const Json* const tools = fields.find("tools")) {
    if (!tools->is_array()) throw ApiError(400, "tools must be a list", "tools");
    chat["tools"] = Json::array();
    for (const Json& tool : *tools) {
      if (!tool.is_object()) throw ApiError(400, "a tool is an object", "tools");
      chat["tools"].push_back(nested(tool));
    }
  }
  if (const Json* const choice = fields.find("tool_choice"))
    chat["tool_choice"] = choice->is_object() ? nested(*choice) : *choice;
}

constexpr auto kOthers = std::to_array<std::string_view>(
    {"input", "instructions", "max_output_tokens", "text", "reasoning", "tools", "tool_choice"});
constexpr auto kUndone = std::to_array<UndoneField>({
    {"n", "1"},
    {"logprobs", "false", "/v1/chat/completions tells them"},
    {"top_logprobs", "0", "/v1/chat/completions tells them"},
});
constexpr auto kUndoneText = std::to_array<UndoneField>({{"verbosity", "\"medium\""}});

// What is asked for besides the answer.
void judge_include(const RequestFields& fields) {
  for (const std::string& one : fields.texts("include", 64))
    if (one.ends_with("logprobs"))
      throw ApiError(400, fmt::format("include of {} is not supported; /v1/chat/completions tells logprobs", one),
                     "include", "unsupported_parameter");
}

}  // namespace

Json chat_of_responses(const Json& body) {
  const RequestFields fields(body);
  for (const char* const kept : {"previous_response_id", "conversation", "prompt"})
    if (fields.find(kept) != nullptr)
      throw ApiError(
          400, fmt::format("{} is not supported: nothing is kept between requests; send the whole conversation", kept),
          kept, "unsupported_parameter");
  if (fields.flag("background", false))
    throw ApiError(400, "background is not supported", "background", "unsupported_parameter");
  refuse_undone(fields, kUndone);
  judge_include(fields);
  Json chat = rest_of_chat(body, kOthers);
  Json& messages = chat["messages"];
  if (const std::string instructions = fields.text("instructions", ""); !instructions.empty())
    messages.push_back({{"role", "system"}, {"content", instructions}});
  const Json* const input = fields.find("input");
  if (input != nullptr && input->is_string())
    messages.push_back({{"role", "user"}, {"content", *input}});
  else if (input != nullptr && input->is_array() && !input->empty())
    for (std::size_t i = 0; i < input->size(); ++i) add_item((*input)[i], i, messages);
  else
    throw ApiError(400, "input must be a text, or a list of items", "input");
  add_tools(fields, chat);
  if (const Json* const most = fields.find("max_output_tokens")) chat["max_tokens"] = *most;
  if (const Json* const text = fields.find("text")) {
    if (!text->is_object()) throw ApiError(400, "text must be an object", "text");
    refuse_undone(RequestFields(*text), kUndoneText);
    if (text->contains("format")) chat["response_format"] = (*text)["format"];
  }
  if (const Json* const reasoning = fields.find("reasoning"); reasoning != nullptr && reasoning->is_object())
    if (const Json* const effort = RequestFields(*reasoning).find("effort")) chat["reasoning_effort"] = *effort;
  return chat;
}

}  // namespace nibble::serve
