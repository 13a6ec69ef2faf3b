// SPDX-License-Identifier: Apache-2.0
#include "cli/special_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "report/number_text.h"

namespace nibble::cli {

std::size_t count_special(const Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  return static_cast<std::size_t>(std::ranges::count_if(ids, [&](const std::int32_t& id) {
    return tokenizer.decode({&id, 1}, true).empty() && !tokenizer.piece(id).empty();
  }));
}

void add_special(CLI::App& verb, bool& parse_special) {
  verb.add_flag("--special", parse_special, "Take the text of control tokens (<|im_start|>) for these tokens, as texts of rendered chats want it");
}

void note_special(const Checkpoint& checkpoint, std::string_view name, std::string_view text, bool parse_special, Session& session) {
  constexpr std::array<std::string_view, 4> kSigns = {"<|", "</s>", "[INST]", "<start_of_turn>"};
  const bool spells_some = std::ranges::any_of(kSigns, [&](std::string_view sign) { return text.find(sign) != std::string_view::npos; });
  if (!parse_special && !spells_some) return;
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  const std::size_t count = count_special(tokenizer, tokenizer.encode(text, {.add_special = false, .parse_special = true}));
  if (parse_special)
    session.note(fmt::format("{}: {} special tokens", name, grouped_text(count)));
  else if (count > 0)
    session.note(
        fmt::format("{}: spells out {} special tokens, which are read as plain text; --special reads them as tokens", name, grouped_text(count)));
}

}  // namespace nibble::cli
