// SPDX-License-Identifier: Apache-2.0
//
// Control tokens that a text spells out ("<|im_start|>"), as rendered chats do.
#pragma once

#include <string_view>

#include "cli/session.h"
#include "model/source_model.h"

namespace nibble::cli {

// --special, of verbs that read texts.
void add_special(CLI::App& verb, bool& parse_special);

// Where they are parsed, says how many of a text's tokens are special; where not, whether the text spells some out.
class SpecialNotes {
 public:
  // Both must outlive this.
  SpecialNotes(const SourceModel& model, bool parse_special, Session& session)
      : model_(model), parse_special_(parse_special), session_(session) {}
  void note(std::string_view name, std::string_view text);

 private:
  const SourceModel& model_;
  bool parse_special_;
  Session& session_;
};

}  // namespace nibble::cli
