// SPDX-License-Identifier: Apache-2.0
//
// The chat template of a model, ready to render what its tokenizer will read. Immutable, safe from many threads.
//
//   const ModelTemplate chat_template = ModelTemplate::open(model, "", false);
//   std::vector<std::int32_t> ids = model.tokenizer().encode(chat_template.render(conversation), kRenderedText);
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/chat/chat_template.h"
#include "model/chat/reasoning.h"
#include "model/chat/tool_calls.h"
#include "model/source_model.h"

namespace nibble {

// How a rendered text is encoded: templates write the tokens around it themselves.
inline constexpr EncodeOptions kRenderedText = {.add_special = false, .parse_special = true};

class ModelTemplate {
 public:
  // choice: a template's name, or a file that holds one; empty: the model's own for conversations with or without
  // tools. Errors: not_found (the model has none, or none of that name, and there is no such file), those of
  // ChatTemplate::parse.
  static ModelTemplate open(const SourceModel& model, const std::string& choice, bool has_tools);

  // conversation's begin and end tokens are set here. Errors as ChatTemplate::render's.
  std::string render(Conversation conversation) const;
  const std::optional<ReasoningMarks>& reasoning() const noexcept { return reasoning_; }
  const ToolCallForm& tool_calls() const noexcept { return tool_calls_; }
  const std::string& text() const noexcept { return text_; }

 private:
  ModelTemplate(const Tokenizer& tokenizer, std::string text, const std::string& source);
  std::string text_, bos_, eos_;
  ChatTemplate template_;
  std::optional<ReasoningMarks> reasoning_;
  ToolCallForm tool_calls_;
};

}  // namespace nibble
