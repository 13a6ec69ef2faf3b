// SPDX-License-Identifier: Apache-2.0
#include "serve/api/messages_request.h"

#include <fmt/format.h>

#include <utility>

namespace nibble::serve {

namespace {

[[noreturn]] void refuse(std::size_t i, const std::string& what) {
  throw ApiError(400, fmt::format("messages[{}]: {}", i, what), fmt::format("messages[{}]", i));
}

std::string type_of(const Json& block) {
  return block.is_object() && block.contains("type") && block["type"].is_string() ? block["type"].get<std::string>()
                                                                                  : std::string();
}

// What tools gave back are messages of their own; what they were asked is part of an answer.
void add_message(const Json& given, std::size_t i, Json& messages) {
  if (!given.is_object() || !given.contains("role") || !given.contains("content"))
    refuse(i, "a message has a role and a content");
  if (given["role"] != "user" && given["role"] != "assistant") refuse(i, "a role is user or assistant");
  const Json& content = given["content"];
  if (!content.is_array()) return messages.push_back({{"role", given["role"]}, {"content", content}});
  Json message = {{"role", given["role"]}, {"content", Json::array()}}, calls = Json::array();
  for (const Json& block : content) {
    const std::string type = type_of(block);
    if (type == "tool_result") {
      messages.push_back({{"role", "tool"},
                          {"tool_call_id", block.value("tool_use_id", Json(""))},
                          {"content", block.value("content", Json(""))}});
    } else if (type == "tool_use") {
      calls.push_back(
          {{"id", block.value("id", Json(""))},
           {"type", "function"},
           {"function",
            {{"name", block.value("name", Json(""))}, {"arguments", block.value("input", Json::object())}}}});
    } else if (type == "thinking") {
      message["reasoning_content"] = block.value("thinking", Json(""));
    } else if (type != "redacted_thinking") {
      message["content"].push_back(block);
    }
  }
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  if (!message["content"].empty() || message.contains("tool_calls")) messages.push_back(std::move(message));
}

}  // namespace

Json chat_of_messages(const Json& body, bool needs_limit) {
  const RequestFields fields(body);
  Json chat = {{"messages", Json::array()}};
  Json& messages = chat["messages"];
  if (const Json* const system = fields.find("system"); system != nullptr && !system->empty())
    messages.push_back({{"role", "system"}, {"content", *system}});
  const Json* const given = fields.find("messages");
  if (given == nullptr || !given->is_array() || given->empty())
    throw ApiError(400, "messages must be a list with a message in it", "messages");
  for (std::size_t i = 0; i < given->size(); ++i) add_message((*given)[i], i, messages);
  if (needs_limit && fields.find("max_tokens") == nullptr) throw ApiError(400, "max_tokens is missing", "max_tokens");
  for (const char* const same : {"model", "max_tokens", "temperature", "top_p", "top_k", "stream", "tools"})
    if (const Json* const field = fields.find(same)) chat[same] = *field;
  if (const Json* const stops = fields.find("stop_sequences")) chat["stop"] = *stops;
  if (const Json* const choice = fields.find("tool_choice"); choice != nullptr && type_of(*choice) == "none")
    chat["tool_choice"] = "none";
  if (const Json* const thinking = fields.find("thinking"))
    chat["chat_template_kwargs"] = {{"enable_thinking", type_of(*thinking) != "disabled"}};
  return chat;
}

}  // namespace nibble::serve
