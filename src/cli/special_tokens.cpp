// SPDX-License-Identifier: Apache-2.0
#include "cli/special_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "report/number_text.h"

namespace nibble::cli {

void add_special(CLI::App& verb, bool& parse_special) {
  verb.add_flag("--special", parse_special,
                "Take the text of control tokens (<|im_start|>) for these tokens, as texts of rendered chats want it");
}

void SpecialNotes::note(std::string_view name, std::string_view text) {
  constexpr std::array<std::string_view, 4> kSigns = {"<|", "</s>", "[INST]", "<start_of_turn>"};
  const bool spells_some =
      std::ranges::any_of(kSigns, [&](std::string_view sign) { return text.find(sign) != std::string_view::npos; });
  if (!parse_special_ && !spells_some) return;
  const std::size_t count = model_.tokenizer().count_special(text);
  if (parse_special_)
    session_.note(fmt::format("{}: {} special tokens", name, grouped_text(count)));
  else if (count > 0)
    session_.note(
        fmt::format("{}: spells out {} special tokens, which are read as plain text; --special reads them as tokens",
                    name, grouped_text(count)));
}

}  // namespace nibble::cli
