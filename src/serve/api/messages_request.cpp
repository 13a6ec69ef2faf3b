// SPDX-License-Identifier: Apache-2.0
#include "serve/api/messages_request.h"

#include <fmt/format.h>

#include <array>
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

// Templates know no sign of a tool that has failed but what it gave back.
Json result_of(const Json& block) {
  Json content = block.value("content", Json(""));
  if (block.value("is_error", Json()) != true) return content;
  if (content.is_array())
    content.insert(content.begin(), Json{{"type", "text"}, {"text", "Error:"}});
  else if (content.is_string())
    content = "Error: " + content.get<std::string>();
  return content;
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
      messages.push_back(
          {{"role", "tool"}, {"tool_call_id", block.value("tool_use_id", Json(""))}, {"content", result_of(block)}});
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

void add_tools(const RequestFields& fields, Json& chat) {
  if (const Json* const tools = fields.find("tools")) {
    if (!tools->is_array()) throw ApiError(400, "tools must be a list", "tools");
    Json& told = chat["tools"] = Json::array();
    for (const Json& tool : *tools) {
      if (!tool.is_object()) throw ApiError(400, "a tool is an object", "tools");
      // Those that are run by a server of theirs are refused with the rest.
      if (const Json type = tool.value("type", Json("custom")); type != "custom") {
        told.push_back({{"type", type}});
        continue;
      }
      Json function = {{"name", tool.value("name", Json(nullptr))}};
      if (tool.contains("description")) function["description"] = tool["description"];
      function["parameters"] = tool.value("input_schema", Json(nullptr));
      if (tool.contains("strict")) function["strict"] = tool["strict"];
      told.push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  const Json* const choice = fields.find("tool_choice");
  if (choice == nullptr) return;
  const std::string type = type_of(*choice);
  if (type == "none" || type == "auto")
    chat["tool_choice"] = type;
  else if (type == "any")
    chat["tool_choice"] = "required";
  else if (type == "tool")
    chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", choice->value("name", Json(nullptr))}}}};
  else
    throw ApiError(400, "tool_choice has a type: auto, any, tool or none", "tool_choice");
  chat["parallel_tool_calls"] = !RequestFields(*choice).flag("disable_parallel_tool_use", false);
}

constexpr auto kOthers =
    std::to_array<std::string_view>({"system", "stop_sequences", "tools", "tool_choice", "thinking", "output_config"});
constexpr auto kUndone = std::to_array<UndoneField>({
    {"output_format", nullptr, "response_format holds a text to a form"},
    {"mcp_servers", "[]", "tools tells of what may be called"},
    {"n", "1"},
    {"logprobs", "false"},
    {"top_logprobs", "0"},
});
constexpr auto kUndoneOutput =
    std::to_array<UndoneField>({{"format", nullptr, "response_format holds a text to a form"}});

}  // namespace

Json chat_of_messages(const Json& body, bool needs_limit) {
  const RequestFields fields(body);
  refuse_undone(fields, kUndone);
  if (const Json* const output = fields.find("output_config")) {
    if (!output->is_object()) throw ApiError(400, "output_config must be an object", "output_config");
    refuse_undone(RequestFields(*output), kUndoneOutput);
  }
  Json chat = rest_of_chat(body, kOthers);
  Json& messages = chat["messages"];
  if (const Json* const system = fields.find("system"); system != nullptr && !system->empty())
    messages.push_back({{"role", "system"}, {"content", *system}});
  const Json* const given = fields.find("messages");
  if (given == nullptr || !given->is_array() || given->empty())
    throw ApiError(400, "messages must be a list with a message in it", "messages");
  for (std::size_t i = 0; i < given->size(); ++i) add_message((*given)[i], i, messages);
  if (needs_limit && !messages.empty() && messages.back()["role"] == "assistant")
    refuse(given->size() - 1, "an answer that was begun is not gone on with; end with a message of the user");
  if (needs_limit && fields.find("max_tokens") == nullptr) throw ApiError(400, "max_tokens is missing", "max_tokens");
  if (const Json* const stops = fields.find("stop_sequences")) chat["stop"] = *stops;
  add_tools(fields, chat);
  if (const Json* const thinking = fields.find("thinking")) {
    Json& variables = chat["chat_template_kwargs"];
    if (variables.is_null() || variables.is_object()) variables["enable_thinking"] = type_of(*thinking) != "disabled";
  }
  return chat;
}

}  // namespace nibble::serve
