// SPDX-License-Identifier: Apache-2.0
//
// The chat templates that a model comes with: one, or several by name ("default", "tool_use", "rag"). Safe from any
// thread.
//
//   const auto templates = read_chat_templates(checkpoint);
//   const NamedTemplate& one = choose_chat_template(templates, "", !conversation.tools.is_null());
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"

namespace nibble {

struct NamedTemplate {
  std::string name;  // "default" of one that has none
  std::string text;
  std::string source;  // file, and key in it: names the template in messages
};

// chat_template.jinja, which is the default, and tokenizer_config.json beside it; or the keys tokenizer.chat_template
// and tokenizer.chat_template.NAME of a GGUF file. Empty where there is none. Error(corrupt) names file and offset.
std::vector<NamedTemplate> read_chat_templates(const Checkpoint& checkpoint);

// The same of parts of a checkpoint.
std::vector<NamedTemplate> chat_templates_of_config(std::string_view tokenizer_config_json, const std::string& source);
std::vector<NamedTemplate> chat_templates_of_gguf(const GgufMetadata& metadata, const std::string& source);

// name: empty takes "tool_use" for a conversation with tools, if there is one, else "default". Error(not_found) lists
// the names that there are.
const NamedTemplate& choose_chat_template(const std::vector<NamedTemplate>& templates, std::string_view name,
                                          bool has_tools);

}  // namespace nibble
