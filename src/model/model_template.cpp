// SPDX-License-Identifier: Apache-2.0
#include "model/model_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/mapped_file.h"
#include "model/chat/named_templates.h"
#include "nibble/error.h"

namespace nibble {

namespace {

std::string token_text(const Tokenizer& tokenizer, std::optional<std::int32_t> id) {
  return id ? tokenizer.token_text(*id) : std::string();
}

bool has_name(const std::vector<NamedTemplate>& templates, const std::string& name) {
  return std::ranges::find(templates, name, &NamedTemplate::name) != templates.end();
}

NamedTemplate read_template_file(const std::string& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return {path, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), path};
}

}  // namespace

ModelTemplate::ModelTemplate(const Tokenizer& tokenizer, std::string text, const std::string& source)
    : text_(std::move(text)),
      bos_(token_text(tokenizer, tokenizer.bos())),
      eos_(token_text(tokenizer, tokenizer.eos())),
      template_(ChatTemplate::parse(text_, source)),
      reasoning_(reasoning_marks(text_)),
      tool_calls_(tool_call_form(text_)) {}

ModelTemplate ModelTemplate::open(const SourceModel& model, const std::string& choice, bool has_tools) {
  const std::vector<NamedTemplate> templates = read_chat_templates(model);
  std::error_code missing;
  if (!choice.empty() && !has_name(templates, choice) && std::filesystem::is_regular_file(choice, missing)) {
    NamedTemplate file = read_template_file(choice);
    return {model.tokenizer(), std::move(file.text), file.source};
  }
  if (templates.empty())
    throw Error(ErrorKind::not_found,
                fmt::format("{}: the model has no chat template{}; give a file that holds one", model.path().string(),
                            choice.empty() ? "" : fmt::format(" and there is no file '{}'", choice)),
                "template");
  const NamedTemplate& chosen = choose_chat_template(templates, choice, has_tools);
  return {model.tokenizer(), chosen.text, chosen.source};
}

std::string ModelTemplate::render(Conversation conversation) const {
  conversation.bos_token = bos_;
  conversation.eos_token = eos_;
  return template_.render(conversation);
}

}  // namespace nibble
