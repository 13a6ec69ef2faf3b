// SPDX-License-Identifier: Apache-2.0
#include "model/chat/named_templates.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kKey = "tokenizer.chat_template";

const NamedTemplate* find_template(const std::vector<NamedTemplate>& templates, std::string_view name) {
  const auto found =
      std::find_if(templates.begin(), templates.end(), [name](const NamedTemplate& one) { return one.name == name; });
  return found == templates.end() ? nullptr : &*found;
}

// The file of its own wins over the copy in tokenizer_config.json.
std::vector<NamedTemplate> read_directory_templates(const Checkpoint& checkpoint) {
  std::vector<NamedTemplate> templates;
  if (const auto config = checkpoint.read_side_file("tokenizer_config.json"))
    templates = chat_templates_of_config(*config, (checkpoint.path() / "tokenizer_config.json").string());
  if (auto text = checkpoint.read_side_file("chat_template.jinja")) {
    std::erase_if(templates, [](const NamedTemplate& one) { return one.name == "default"; });
    templates.insert(templates.begin(),
                     {"default", std::move(*text), (checkpoint.path() / "chat_template.jinja").string()});
  }
  return templates;
}

}  // namespace

std::vector<NamedTemplate> chat_templates_of_config(std::string_view tokenizer_config_json, const std::string& source) {
  const auto config = parse_json(tokenizer_config_json, source);
  const auto found = config.find("chat_template");
  std::vector<NamedTemplate> templates;
  if (found == config.end() || found->is_null()) return templates;
  if (found->is_string()) {
    templates.push_back({"default", found->get<std::string>(), source + ": chat_template"});
    return templates;
  }
  const auto refuse = [&] {
    throw Error(ErrorKind::corrupt, source + ": chat_template is neither a text nor a list of named templates");
  };
  if (!found->is_array()) refuse();
  for (const auto& one : *found) {
    if (!one.is_object() || !one.contains("name") || !one.contains("template") || !one["name"].is_string() ||
        !one["template"].is_string())
      refuse();
    const auto name = one["name"].get<std::string>();
    templates.push_back(
        {name, one["template"].get<std::string>(), fmt::format("{}: chat_template {}", source, quote_name(name))});
  }
  return templates;
}

std::vector<NamedTemplate> chat_templates_of_gguf(const GgufMetadata& metadata, const std::string& source) {
  std::vector<NamedTemplate> templates;
  const auto add = [&](const std::string& name, const std::string& key) {
    if (auto text = metadata.string(key)) templates.push_back({name, std::move(*text), source + ": " + key});
  };
  add("default", std::string(kKey));
  if (const auto* names = metadata.strings("tokenizer.chat_templates"))
    for (const std::string& name : *names)
      if (!find_template(templates, name)) add(name, fmt::format("{}.{}", kKey, name));
  return templates;
}

std::vector<NamedTemplate> read_chat_templates(const Checkpoint& checkpoint) {
  if (checkpoint.kind() == ContainerKind::gguf)
    return chat_templates_of_gguf(checkpoint.gguf(), checkpoint.path().string());
  return read_directory_templates(checkpoint);
}

const NamedTemplate& choose_chat_template(const std::vector<NamedTemplate>& templates, std::string_view name,
                                          bool has_tools) {
  const NamedTemplate* chosen = nullptr;
  if (!name.empty()) {
    chosen = find_template(templates, name);
  } else {
    if (has_tools) chosen = find_template(templates, "tool_use");
    if (!chosen) chosen = find_template(templates, "default");
  }
  if (chosen) return *chosen;
  if (templates.empty()) throw Error(ErrorKind::not_found, "the model has no chat template");
  std::string names;
  for (const NamedTemplate& one : templates) names += (names.empty() ? "" : ", ") + quote_name(one.name);
  throw Error(ErrorKind::not_found,
              fmt::format("the model has no chat template named {}, and there is no such file; it has {}",
                          quote_name(name.empty() ? "default" : name), names));
}

}  // namespace nibble
