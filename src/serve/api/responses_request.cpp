// SPDX-License-Identifier: Apache-2.0
#include "serve/api/responses_request.h"

#include <fmt/format.h>

namespace nibble::serve {

namespace {

void add_item(const Json& item, std::size_t i, Json& messages) {
  const auto refuse = [&](const std::string& what) {
    throw ApiError(400, fmt::format("input[{}]: {}", i, what), fmt::format("input[{}]", i));
  };
  if (!item.is_object()) refuse("an item is an object");
  const Json type = item.value("type", Json("message"));
  if (type == "message") {
    messages.push_back(
        {{"role", item.value("role", Json(nullptr))}, {"content", item.value("content", Json(nullptr))}});
  } else if (type == "function_call") {
    Json call = {
        {"id", item.value("call_id", Json(""))},
        {"type", "function"},
        {"function", {{"name", item.value("name", Json(""))}, {"arguments", item.value("arguments", Json(""))}}}};
    Json message = {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", Json::array()}};
    message["tool_calls"].push_back(std::move(call));
    messages.push_back(std::move(message));
  } else if (type == "function_call_output") {
    messages.push_back({{"role", "tool"},
                        {"tool_call_id", item.value("call_id", Json(""))},
                        {"content", item.value("output", Json(""))}});
  } else if (type != "reasoning") {
    refuse("the model reads messages and calls of functions, and not an item of type " + line_of(type));
  }
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
  Json chat = {{"messages", Json::array()}};
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
  for (const char* const same : {"model", "temperature", "top_p", "stream", "tools", "tool_choice"})
    if (const Json* const field = fields.find(same)) chat[same] = *field;
  if (const Json* const most = fields.find("max_output_tokens")) chat["max_tokens"] = *most;
  if (const Json* const text = fields.find("text"); text != nullptr && text->is_object() && text->contains("format"))
    chat["response_format"] = (*text)["format"];
  if (const Json* const reasoning = fields.find("reasoning"); reasoning != nullptr && reasoning->is_object())
    if (const Json* const effort = RequestFields(*reasoning).find("effort")) chat["reasoning_effort"] = *effort;
  return chat;
}

}  // namespace nibble::serve
