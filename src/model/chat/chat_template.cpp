// SPDX-License-Identifier: Apache-2.0
#include "model/chat/chat_template.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "io/json_text.h"
#include "model/chat/interpreter.h"
#include "model/chat/parser.h"

namespace nibble {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::size_t kMaxTemplateBytes = 1U << 20U;

// A number that no double holds has become a text that begins with a zero byte.
double unheld_number(std::string_view text) {
  const bool is_negative = text.find('-') != std::string_view::npos && text.find('-') < 2;
  if (text.find("NaN") != std::string_view::npos) return std::numeric_limits<double>::quiet_NaN();
  return is_negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
}

chat::Value value_of(chat::Rendering& rendering, const Json& json) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return chat::Value(json.get<bool>());
    case Json::value_t::number_integer:
      return chat::Value(json.get<std::int64_t>());
    case Json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return chat::Value(json.get<double>());
      return chat::Value(json.get<std::int64_t>());
    case Json::value_t::number_float:
      return chat::Value(json.get<double>());
    case Json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      return is_unheld_number(text) ? chat::Value(unheld_number(text)) : rendering.text(text);
    }
    case Json::value_t::array: {
      std::vector<chat::Value> items;
      for (const Json& item : json) items.push_back(value_of(rendering, item));
      return rendering.sequence(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<chat::Value, chat::Value>> entries;
      for (const auto& [key, item] : json.items()) entries.emplace_back(rendering.text(key), value_of(rendering, item));
      return rendering.dictionary(std::move(entries));
    }
    default:
      return chat::Value(chat::None{});
  }
}

// What is null is not there, and what the model thought has the names that templates know it by.
Json plain_message(const Json& message) {
  Json plain = Json::object();
  const Json* thought = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"})
    if (const auto found = message.find(name); !thought && found != message.end() && !found->is_null())
      thought = &*found;
  if (thought) plain["thinking"] = *thought;
  for (const auto& [key, value] : message.items())
    if (!value.is_null()) plain[key] = value;
  if (thought) plain["reasoning_content"] = *thought;
  return plain;
}

Json plain_messages(const Json& messages) {
  if (!messages.is_array()) throw Error(ErrorKind::invalid_argument, "a conversation is a JSON list of messages");
  Json plain = Json::array();
  for (const Json& message : messages) {
    if (!message.is_object())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a conversation's messages are JSON objects; message {} is none", plain.size() + 1));
    plain.push_back(plain_message(message));
  }
  return plain;
}

chat::Value variables_of(chat::Rendering& rendering, const Conversation& conversation) {
  std::vector<std::pair<chat::Value, chat::Value>> entries;
  const auto add = [&](const std::string& name, chat::Value value) {
    entries.emplace_back(rendering.text(name), std::move(value));
  };
  if (!conversation.bos_token.empty()) add("bos_token", rendering.text(conversation.bos_token));
  if (!conversation.eos_token.empty()) add("eos_token", rendering.text(conversation.eos_token));
  add("messages", value_of(rendering, plain_messages(conversation.messages)));
  add("tools", value_of(rendering, conversation.tools));
  add("documents", value_of(rendering, conversation.documents));
  add("add_generation_prompt", chat::Value(conversation.add_generation_prompt));
  for (const auto& [name, value] : conversation.variables.items()) add(name, value_of(rendering, value));
  return rendering.dictionary(std::move(entries));
}

}  // namespace

struct ChatTemplate::State {
  std::string source;
  TemplateLimits limits;
  chat::Program program;
};

ChatTemplate ChatTemplate::parse(std::string_view text, std::string source, const TemplateLimits& limits) {
  if (text.size() > kMaxTemplateBytes)
    throw TemplateError(TemplateError::Cause::limit, 1, source,
                        fmt::format("the template is longer than {} bytes", kMaxTemplateBytes));
  try {
    return ChatTemplate(std::make_unique<const State>(State{source, limits, chat::parse_program(text)}));
  } catch (const chat::SyntaxFault& fault) {
    throw TemplateError(fault.is_unsupported ? TemplateError::Cause::unsupported : TemplateError::Cause::syntax,
                        fault.line, source, fault.message);
  }
}

ChatTemplate::ChatTemplate(std::unique_ptr<const State> state) : state_(std::move(state)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::render(const Conversation& conversation) const {
  chat::Rendering rendering(state_->limits, conversation.now);
  chat::Value variables;
  int line = 1;
  try {
    variables = variables_of(rendering, conversation);
    chat::Interpreter interpreter(rendering, *variables.dictionary());
    try {
      return interpreter.run(state_->program);
    } catch (const chat::Fault&) {
      line = interpreter.line();
      throw;
    }
  } catch (const chat::Fault& fault) {
    throw TemplateError(fault.cause, line, state_->source, fault.message);
  }
}

}  // namespace nibble
