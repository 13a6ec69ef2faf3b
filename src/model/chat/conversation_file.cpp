// SPDX-License-Identifier: Apache-2.0
#include "model/chat/conversation_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "io/json_text.h"
#include "nibble/error.h"

namespace nibble {

namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw Error(ErrorKind::unusable_input, fmt::format("{}: {}", place, what));
}

// The roles of files that name who speaks by "from".
std::string role_of_speaker(const std::string& from) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kRoles = {{{"human", "user"},
                                                                                    {"gpt", "assistant"},
                                                                                    {"chatgpt", "assistant"},
                                                                                    {"model", "assistant"},
                                                                                    {"bot", "assistant"},
                                                                                    {"function_response", "tool"}}};
  const auto* const found = std::ranges::find(kRoles, from, [](const auto& role) { return role.first; });
  return found == kRoles.end() ? from : std::string(found->second);
}

Json message_of(const Json& item, const std::string& place) {
  if (!item.is_object()) refuse(place, "a message is no object with \"role\" and \"content\"");
  if (item.contains("role") && !item["role"].is_string()) refuse(place, "a message's \"role\" is no text");
  if (item.contains("role")) return item;
  if (!item.contains("from") || !item["from"].is_string() || !item.contains("value"))
    refuse(place, "a message has no \"role\"");
  return {{"role", role_of_speaker(item["from"].get<std::string>())}, {"content", item["value"]}};
}

Json messages_of(const Json& list, const std::string& place) {
  if (!list.is_array() || list.empty()) refuse(place, "\"messages\" is no list of messages");
  Json messages = Json::array();
  for (const Json& item : list) messages.push_back(message_of(item, place));
  return messages;
}

Conversation conversation_of(const Json& json, const std::string& place) {
  Conversation conversation;
  if (json.is_array()) {
    conversation.messages = messages_of(json, place);
    return conversation;
  }
  if (!json.is_object()) refuse(place, "is neither a conversation (\"messages\": [...]) nor a list of messages");
  for (const auto& [key, value] : json.items()) {
    if (key == "messages" || key == "conversations")
      conversation.messages = messages_of(value, place);
    else if (key == "tools")
      conversation.tools = value;
    else if (key == "documents")
      conversation.documents = value;
    else if (key == "chat_template_kwargs" && value.is_object())
      for (const auto& [name, variable] : value.items()) conversation.variables[name] = variable;
  }
  if (conversation.messages.empty()) refuse(place, "has no \"messages\"");
  return conversation;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

// A list of messages, or of conversations.
bool is_list_of_conversations(const Json& json) {
  return json.is_array() && !json.empty() &&
         (json[0].is_array() ||
          (json[0].is_object() && (json[0].contains("messages") || json[0].contains("conversations"))));
}

}  // namespace

std::vector<Conversation> read_conversations(std::string_view text, const std::string& source) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<Conversation> conversations;
  // JSON lines hold a whole value in their first line; one JSON text may go over many.
  const std::size_t begin = std::min(text.size(), text.find_first_not_of(" \t\r\n"));
  const std::string_view first = text.substr(begin, text.find('\n', begin) - begin);
  if (!Json::accept(first)) {
    const Json json = parse_json(text, source);
    if (!is_list_of_conversations(json)) return {conversation_of(json, source)};
    for (std::size_t i = 0; i < json.size(); ++i)
      conversations.push_back(conversation_of(json[i], fmt::format("{}: conversation {}", source, i + 1)));
    return conversations;
  }
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.size(), text.find('\n', at));
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (is_blank(line)) continue;
    const std::string place = fmt::format("{}: line {}", source, number);
    const Json json = parse_json(line, place);
    if (is_list_of_conversations(json))
      for (const Json& one : json) conversations.push_back(conversation_of(one, place));
    else
      conversations.push_back(conversation_of(json, place));
  }
  if (conversations.empty()) refuse(source, "holds no conversation");
  return conversations;
}

}  // namespace nibble
