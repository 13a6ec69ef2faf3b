// SPDX-License-Identifier: Apache-2.0
//
// The texts that a verb reads: plain ones, and conversations that become text by the model's chat template. Control
// tokens that a text spells out ("<|im_start|>") are tokens where that is asked for, and in conversations.
//
//   add_text_files(*verb, "Text to calibrate on", options->texts);
//   const std::vector<NamedText> texts = options.texts.read(model, session);
#pragma once

#include <string>
#include <vector>

#include "cli/chat/chat_options.h"
#include "cli/places.h"
#include "cli/session.h"
#include "model/source_model.h"

namespace nibble::cli {

struct TextFiles {
  std::vector<std::string> plain, conversations;
  ChatOptions chat;
  bool special = false;

  bool empty() const noexcept { return plain.empty() && conversations.empty(); }
  bool parse_special() const noexcept { return special || !conversations.empty(); }
  void add_places(Places& places) const;
  // Every file as one text, named as it was given. Says how many special tokens there are, where any are looked for or
  // spelled out. Errors name file and place.
  std::vector<NamedText> read(const SourceModel& model, Session& session) const;
};

// What is measured on where no text is named: heldout.txt in the model's directory; empty where there is none.
std::vector<std::string> texts_beside(const std::string& model);

// Each conversation of a file as the model's template, or the chosen one, renders it. Errors name file and place.
std::vector<std::string> render_conversations(const std::string& path, const ChatOptions& options,
                                              const SourceModel& model);

// --text, --chat, --template, --template-option, --no-think and --special.
void add_text_files(CLI::App& verb, const std::string& what, TextFiles& files);
// Error(invalid_argument): options of conversations without any.
void judge_text_files(const CLI::App& verb, const TextFiles& files);

}  // namespace nibble::cli
