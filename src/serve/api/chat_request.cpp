// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "io/json_text.h"

namespace nibble::serve {

namespace {

constexpr auto kRoles =
    std::to_array<std::string_view>({"system", "developer", "user", "assistant", "tool", "function"});

[[noreturn]] void refuse(std::size_t i, const std::string& what) {
  throw ApiError(400, fmt::format("messages[{}]: {}", i, what), fmt::format("messages[{}]", i));
}

// Parts one under the other.
std::string text_of_parts(const Json& parts, std::size_t i) {
  std::string text;
  for (const Json& part : parts) {
    const std::string kind = part.is_object() && part.contains("type") && part["type"].is_string()
                                 ? part["type"].get<std::string>()
                                 : std::string();
    const char* const key = kind == "refusal" ? "refusal" : "text";
    if (kind != "text" && kind != "input_text" && kind != "output_text" && kind != "refusal")
      refuse(i, fmt::format("the model reads text alone, and not a part of type '{}'", kind));
    if (!part.contains(key) || !part[key].is_string()) refuse(i, "a part has no text");
    text += (text.empty() ? "" : "\n") + part[key].get<std::string>();
  }
  return text;
}

// A call whose arguments are no JSON stays as the model wrote it: a conversation goes on from what was said.
void read_calls(Json& message, MemberCount& members) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || !calls->is_array()) return;
  for (Json& call : *calls) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    Json& function = call["function"];
    if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
    std::string plain;
    if (judge_json(function["arguments"].get_ref<const std::string&>(), plain)) continue;
    members.add(plain);
    try {
      Json arguments = Json::parse(plain);
      if (arguments.is_object()) function["arguments"] = std::move(arguments);
    } catch (const Json::exception&) {
      continue;
    }
  }
}

Json read_message(const Json& given, std::size_t i, MemberCount& members) {
  if (!given.is_object()) refuse(i, "a message is an object");
  if (!given.contains("role") || !given["role"].is_string()) refuse(i, "the role is missing");
  Json message = given;
  const std::string role = message["role"];
  if (std::ranges::find(kRoles, role) == kRoles.end()) refuse(i, fmt::format("there is no role '{}'", role));
  if (role == "developer") message["role"] = "system";
  if (!message.contains("content") || message["content"].is_null()) {
    if (role != "assistant") refuse(i, "the content is missing");
    message["content"] = "";
  } else if (message["content"].is_array()) {
    message["content"] = text_of_parts(message["content"], i);
  } else if (!message["content"].is_string()) {
    refuse(i, "the content is a text, or a list of parts");
  }
  read_calls(message, members);
  return message;
}

}  // namespace

Conversation read_conversation(const RequestFields& fields, Json tools, const ServedModel& model) {
  const Json* const messages = fields.find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    throw ApiError(400, "messages must be a list with a message in it", "messages");
  Conversation conversation;
  conversation.tools = std::move(tools);
  MemberCount members;
  for (std::size_t i = 0; i < messages->size(); ++i)
    conversation.messages.push_back(read_message((*messages)[i], i, members));
  if (const Json* const documents = fields.find("documents")) conversation.documents = *documents;
  conversation.variables = model.template_variables;
  if (const std::string effort = fields.text("reasoning_effort", ""); !effort.empty())
    conversation.variables["reasoning_effort"] = effort;
  if (const Json* const variables = fields.find("chat_template_kwargs")) {
    if (!variables->is_object()) throw ApiError(400, "chat_template_kwargs must be an object", "chat_template_kwargs");
    for (const auto& [name, value] : variables->items()) conversation.variables[name] = value;
  }
  return conversation;
}

RenderedChat render_chat(Conversation conversation, const ServedModel& model) {
  if (model.chat_template == nullptr)
    throw ApiError(501,
                   "the model has no chat template, so it does not chat; /v1/completions continues texts, or start the "
                   "server with a template");
  conversation.add_generation_prompt = true;
  if (!model.chat_template->tool_calls().is_told_by_template) tell_tools_as_text(conversation);
  RenderedChat rendered;
  rendered.text = model.chat_template->render(std::move(conversation));
  rendered.ids = model.tokenizer->encode(rendered.text, kRenderedText);
  return rendered;
}

}  // namespace nibble::serve
