// SPDX-License-Identifier: Apache-2.0
#include "model/chat/tool_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "model/chat/begun_mark.h"

namespace nibble {

namespace {

using Json = nlohmann::ordered_json;

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

ToolCallForm hermes() {
  return {.name = "hermes",
          .begin = "",
          .head = "<tool_call>\n{\"name\": \"",
          .middle = "\", \"arguments\": ",
          .tail = "}\n</tool_call>",
          .between = "\n",
          .end = "",
          .opening = "<tool_call>",
          .marks = {"<tool_call>", "</tool_call>"}};
}

std::string text_of(const Json& json) {
  return json.is_string() ? json.get<std::string>() : json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string instructions(const Json& tools) {
  std::string text =
      "You can call functions. Each of these lines describes one, its parameters as a JSON schema:\n<tools>\n";
  for (const Json& tool : tools) text += text_of(tool.contains("function") ? tool["function"] : tool) + "\n";
  return text +
         "</tools>\nTo call a function, answer with its name and its arguments as JSON between these marks, once for "
         "each call:\n<tool_call>\n{\"name\": \"NAME\", \"arguments\": {\"PARAMETER\": VALUE}}\n</tool_call>";
}

void write_calls(Json& message, const ToolCallForm& form) {
  std::string text = message.contains("content") ? text_of(message["content"]) : std::string();
  for (const Json& call : message["tool_calls"]) {
    const Json& function = call.contains("function") ? call["function"] : call;
    if (!function.is_object()) continue;
    text += (text.empty() ? "" : "\n") + form.head + text_of(function.value("name", Json(""))) + form.middle +
            text_of(function.value("arguments", Json::object())) + form.tail;
  }
  message["content"] = text;
  message.erase("tool_calls");
}

}  // namespace

ToolCallForm tool_call_form(std::string_view template_text) {
  if (has(template_text, "[TOOL_CALLS]")) {
    if (has(template_text, "[ARGS]"))
      return {.name = "mistral_args",
              .begin = "",
              .head = "[TOOL_CALLS]",
              .middle = "[ARGS]",
              .tail = "",
              .between = "",
              .end = "",
              .opening = "[TOOL_CALLS]",
              .marks = {"[TOOL_CALLS]", "[ARGS]"}};
    return {.name = "mistral",
            .begin = has(template_text, "[TOOL_CALLS] [") ? "[TOOL_CALLS] [" : "[TOOL_CALLS][",
            .head = "{\"name\": \"",
            .middle = "\", \"arguments\": ",
            .tail = "}",
            .between = ", ",
            .end = "]",
            .opening = "[TOOL_CALLS]",
            .marks = {"[TOOL_CALLS]"}};
  }
  if (has(template_text, "<tool_call>")) return hermes();
  if (has(template_text, "tools") && has(template_text, "\"parameters\": "))
    return {.name = "llama3",
            .begin = "",
            .head = "{\"name\": \"",
            .middle = "\", \"parameters\": ",
            .tail = "}",
            .between = "",
            .end = "",
            .opening = "{\"name\"",
            .opens_text = true,
            .is_alone = true};
  ToolCallForm plain = hermes();
  plain.name = "plain";
  plain.is_told_by_template = false;
  return plain;
}

void tell_tools_as_text(Conversation& conversation) {
  const ToolCallForm form = hermes();
  Json told = Json::array();
  const bool tells = !conversation.tools.is_null();
  const std::string text = tells ? instructions(conversation.tools) : std::string();
  const bool has_system = !conversation.messages.empty() && conversation.messages[0].value("role", Json()) == "system";
  if (tells && !has_system) told.push_back({{"role", "system"}, {"content", text}});
  for (Json& message : conversation.messages) {
    const Json role = message.value("role", Json());
    if (tells && has_system && told.empty()) {
      message["content"] = text_of(message.value("content", Json(""))) + "\n\n" + text;
    } else if (role == "tool" || role == "function") {
      // Those that follow on one another are one message of the user, whose turn it is.
      const std::string result = fmt::format("<tool_response>\n{}\n</tool_response>", text_of(message["content"]));
      if (!told.empty() && told.back().contains("tool_call_id"))
        told.back()["content"] = told.back()["content"].get<std::string>() + "\n" + result;
      else
        told.push_back({{"role", "user"}, {"content", result}, {"tool_call_id", ""}});
      continue;
    } else if (message.contains("tool_calls") && message["tool_calls"].is_array()) {
      write_calls(message, form);
    }
    told.push_back(std::move(message));
  }
  for (Json& message : told)
    if (message.value("role", Json()) == "user") message.erase("tool_call_id");
  conversation.messages = std::move(told);
  conversation.tools = nullptr;
}

void ToolCallStream::give(ToolCallPart::Kind kind, std::size_t count, std::vector<ToolCallPart>& parts) {
  if (count > 0) parts.push_back({kind, held_.substr(0, count)});
  held_.erase(0, count);
}

// Text up to what may be the white space and the mark in front of a call.
bool ToolCallStream::advance_text(std::vector<ToolCallPart>& parts) {
  const std::string_view held = held_;
  const std::size_t first = std::min(held.find_first_not_of(kBlanks), held.size());
  if (form_.opens_text) {
    if (!has_text_ && held.substr(first).starts_with(form_.opening)) {
      stage_ = Stage::opening;
      return true;
    }
    if (!has_text_ && form_.opening.starts_with(held.substr(first))) return false;
    has_text_ = true;
    give(ToolCallPart::Kind::text, held.size(), parts);
    return false;
  }
  const std::size_t found = held.find(form_.opening);
  const bool is_found = found != std::string_view::npos;
  const std::string_view before = held.substr(0, is_found ? found : held.size() - begun_mark(held, form_.opening));
  const std::size_t last = before.find_last_not_of(kBlanks);
  give(ToolCallPart::Kind::text, last == std::string_view::npos ? 0 : last + 1, parts);
  if (!is_found) return false;
  stage_ = Stage::opening;
  return true;
}

// What opens like a call is one where it goes on as a call of one of the tools; else it is text like any other.
bool ToolCallStream::advance_opening(std::vector<ToolCallPart>& parts) {
  const std::size_t first = held_.find(form_.opening);
  const std::string_view opened = std::string_view(held_).substr(first);
  bool may_be = false;
  for (const std::string& name : names_) {
    const std::string begun = form_.begin + form_.head + name + form_.middle + "{";
    if (opened.starts_with(begun)) {
      held_.erase(0, first + form_.begin.size());
      stage_ = Stage::head;
      return true;
    }
    may_be = may_be || begun.starts_with(opened);
  }
  if (may_be) return false;
  has_text_ = true;
  give(ToolCallPart::Kind::text, first + form_.opening.size(), parts);
  stage_ = Stage::text;
  return true;
}

// Whether there is more to be said about what is held.
bool ToolCallStream::advance(std::vector<ToolCallPart>& parts) {
  switch (stage_) {
    case Stage::text:
      return advance_text(parts);
    case Stage::opening:
      return advance_opening(parts);
    case Stage::head: {
      const std::size_t found = held_.find(form_.head);
      if (found == std::string::npos) return false;
      held_.erase(0, found + form_.head.size());
      stage_ = Stage::name;
      return true;
    }
    case Stage::name: {
      const std::size_t found = held_.find(form_.middle);
      if (found == std::string::npos) return false;
      parts.push_back({ToolCallPart::Kind::name, held_.substr(0, found)});
      held_.erase(0, found + form_.middle.size());
      stage_ = Stage::arguments;
      return true;
    }
    case Stage::arguments: {
      std::size_t end = 0;
      bool is_done = false;
      while (end < held_.size() && !is_done) {
        const char c = held_[end++];
        if (std::exchange(is_escaped_, false)) continue;
        if (c == '"') is_in_string_ = !is_in_string_;
        if (is_in_string_) is_escaped_ = c == '\\';
        if (is_in_string_ || c == '"') continue;
        if (c == '{' || c == '[') ++depth_;
        if (c == '}' || c == ']') is_done = depth_ > 0 && --depth_ == 0;
      }
      give(ToolCallPart::Kind::arguments, end, parts);
      if (is_done) stage_ = Stage::head;
      return is_done;
    }
  }
  return false;
}

std::vector<ToolCallPart> ToolCallStream::push(std::string_view text) {
  std::vector<ToolCallPart> parts;
  held_ += text;
  while (advance(parts)) continue;
  return parts;
}

std::vector<ToolCallPart> ToolCallStream::finish() {
  std::vector<ToolCallPart> parts;
  // A mark of its own is not told as text; what opens like other texts is.
  if (stage_ == Stage::text || (stage_ == Stage::opening && form_.marks.empty()))
    give(ToolCallPart::Kind::text, held_.size(), parts);
  held_.clear();
  return parts;
}

}  // namespace nibble
