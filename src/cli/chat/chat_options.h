// SPDX-License-Identifier: Apache-2.0
//
// What a conversation begins with: options of verbs that talk to a model, or render conversations for it.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"
#include "model/chat/chat_template.h"

namespace nibble::cli {

struct ChatOptions {
  std::string system, template_choice, tools_file;
  std::vector<std::string> variables;  // KEY=VALUE
  bool no_think = false;
};

// --template, --template-option, --no-think.
void add_template_options(CLI::App& verb, ChatOptions& options);
// These, --system and --tools.
void add_chat_options(CLI::App& verb, ChatOptions& options);

// With the system's message, if any, and what the template is told. Errors name the option, and file and place in it.
Conversation begin_conversation(const ChatOptions& options);
// What the template is told, alone.
nlohmann::ordered_json template_variables(const ChatOptions& options);

// The one conversation of a file that /save wrote. Errors as read_conversations', and unusable_input: holds several.
Conversation load_conversation(const std::string& path);

// "true", "3", "\"x\"" and lists are JSON, everything else a text.
nlohmann::ordered_json value_of_text(const std::string& text);

}  // namespace nibble::cli
