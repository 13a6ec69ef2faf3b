// SPDX-License-Identifier: Apache-2.0
//
// Control tokens that a text spells out ("<|im_start|>"), as rendered chats do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/session.h"
#include "model/tokenizer/tokenizer.h"

namespace nibble::cli {

// How many of the ids are control tokens.
std::size_t count_special(const Tokenizer& tokenizer, std::span<const std::int32_t> ids);

// --special, of verbs that read texts.
void add_special(CLI::App& verb, bool& parse_special);
// Where they are parsed, says how many of each text's tokens are special; where not, whether the text spells some out.
void note_special(const Checkpoint& checkpoint, std::string_view name, std::string_view text, bool parse_special, Session& session);

}  // namespace nibble::cli
