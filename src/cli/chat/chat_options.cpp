// SPDX-License-Identifier: Apache-2.0
#include "cli/chat/chat_options.h"

#include <fmt/format.h>

#include <utility>

#include "io/json_text.h"
#include "model/chat/conversation_file.h"
#include "nibble/error.h"

namespace nibble::cli {

using Json = nlohmann::ordered_json;

void add_template_options(CLI::App& verb, ChatOptions& options) {
  verb.add_option("--template", options.template_choice,
                  "Chat template: a name among the model's own, or a file (default: the model's)");
  verb.add_option("--template-option", options.variables,
                  "KEY=VALUE for the template, VALUE as JSON or text (may be given several times)")
      ->type_name("KEY=VALUE");
  verb.add_flag("--no-think", options.no_think, "Ask the template for an answer without thoughts before it");
}

void add_chat_options(CLI::App& verb, ChatOptions& options) {
  verb.add_option("--system", options.system, "What the model is told to be, before the conversation begins");
  add_template_options(verb, options);
  verb.add_option("--tools", options.tools_file, "File with a JSON list of the tools that the template tells of");
}

Json value_of_text(const std::string& text) {
  if (!Json::accept(text)) return text;
  return Json::parse(text);
}

// Templates of different families ask for different words.
Json template_variables(const ChatOptions& options) {
  Json variables = Json::object();
  if (options.no_think) {
    variables["enable_thinking"] = false;
    variables["thinking"] = false;
    variables["reasoning_effort"] = "low";
  }
  for (const std::string& variable : options.variables) {
    const std::size_t sign = variable.find('=');
    if (sign == std::string::npos || sign == 0)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("--template-option is KEY=VALUE, as enable_thinking=false: '{}'", variable));
    variables[variable.substr(0, sign)] = value_of_text(variable.substr(sign + 1));
  }
  return variables;
}

Conversation load_conversation(const std::string& path) {
  std::vector<Conversation> read = read_conversations(read_text(path), path);
  if (read.size() > 1)
    throw Error(ErrorKind::unusable_input, fmt::format("{}: holds {} conversations, not one", path, read.size()));
  return std::move(read.front());
}

Conversation begin_conversation(const ChatOptions& options) {
  Conversation conversation;
  conversation.variables = template_variables(options);
  if (!options.system.empty()) conversation.messages.push_back({{"role", "system"}, {"content", options.system}});
  if (!options.tools_file.empty()) {
    conversation.tools = parse_json(read_text(options.tools_file), options.tools_file);
    if (!conversation.tools.is_array())
      throw Error(ErrorKind::unusable_input, options.tools_file + ": tools are a JSON list");
  }
  return conversation;
}

}  // namespace nibble::cli
