// SPDX-License-Identifier: Apache-2.0
//
// What a tokenizer loses on its way into a GGUF file, found by asking both sides: added tokens and normalisation that
// the format has no place for give other ids to some texts, and which they are is what a user needs to know.
#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "io/message_text.h"
#include "model/tokenizer/parts.h"

namespace nibble::tokenizing {
namespace {

struct Probe {
  std::string_view what;
  std::vector<std::string> texts;
};

// Texts that normalizers, split rules and merges treat each in their own way.
std::vector<Probe> fixed_probes() {
  return {
      {"characters in decomposed form",
       {"cafe\xCC\x81 man\xCC\x83"
        "ana a\xCC\x8Angstro\xCC\x88m",
        "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB\xE1\x84\x80\xE1\x85\xB3\xE1\x86\xAF"}},
      {"compatibility characters (ligatures, full-width letters, fractions)",
       {"\xEF\xAC\x81ne \xC2\xBD \xE2\x84\xA2", "\xEF\xBD\x81\xEF\xBD\x82\xEF\xBC\x91", "\xE2\x91\xA0 \xE3\x8E\x8F"}},
      {"capital letters", {"Hello World", "HTTP SERVER", "\xC3\x84pfel \xC3\x96l"}},
      {"letters with accents",
       {"na\xC3\xAFve caf\xC3\xA9",
        "gr\xC3\xB6\xC3\x9F"
        "e f\xC3\xBChrer"}},
      {"digits",
       {"1", "12 345 6789", "3.14159 x 10^23 = 1234567890", "\xD9\xA1\xD9\xA2\xD9\xA3 \xE0\xA5\xA8\xE0\xA5\xA9"}},
      {"other scripts",
       {"\xD0\xBA\xD0\xBE\xD1\x88\xD0\xBA\xD0\xB0", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE\xE3\x83\x86",
        "\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4", "\xE0\xB9\x84\xE0\xB8\x97\xE0\xB8\xA2",
        "\xE0\xA4\xB9\xE0\xA4\xBF\xE0\xA4\xA8\xE0\xA5\x8D\xE0\xA4\xA6\xE0\xA5\x80",
        "\xD7\xA2\xD7\x91\xD7\xA8\xD7\x99\xD7\xAA", "\xD8\xA7\xD9\x84\xD8\xB9\xD8\xB1\xD8\xA8\xD9\x8A\xD8\xA9",
        "\xF0\x9F\x99\x82\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80"}},
      {"white space",
       {" a", "a ", "two  spaces   three", "\ttab\t\ttabs", "line\nline\n\n\nend\r\n", " \n \n",
        "a\xC2\xA0"
        "b\xE3\x80\x80"
        "c"}},
      {"punctuation and code",
       {"I'm sure we'LL see 'em...!?", "if (a[i] != b->c) { return \"x\\n\"; } // done",
        "user_name@example.com #1 --- =====", "<tag/> 'S 'd"}},
      {"ordinary text",
       {"Once upon a time, there was a little girl who lived in a big house.",
        "The quick brown fox jumps over the lazy dog"}},
  };
}

// Some of the tokenizer's own tokens, one behind the other.
std::vector<std::string> own_texts(const TokenizerParts& parts, const std::function<std::string(std::int32_t)>& piece) {
  constexpr std::size_t kTexts = 16, kPerText = 24;
  std::vector<std::int32_t> ids;
  for (std::size_t id = 0; id < parts.vocabulary.size(); ++id)
    if (parts.vocabulary[id].kind == TokenKind::normal) ids.push_back(static_cast<std::int32_t>(id));
  const std::size_t step = std::max<std::size_t>(1, ids.size() / (kTexts * kPerText));
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < ids.size(); i += step) {
    if (i / step % kPerText == 0) texts.emplace_back();
    texts.back() += piece(ids[i]);
  }
  for (std::string& text : texts) text = replace_invalid_utf8(text);
  return texts;
}

std::vector<std::string> around(const std::string& token) {
  return {token,         "a" + token + "b", "a " + token + " b", "a  " + token + "  b",
          token + "\nb", "a. " + token,     token + token};
}

}  // namespace

std::vector<std::string> find_gguf_losses(const TokenizerParts& parts,
                                          const std::function<std::string(std::int32_t)>& piece,
                                          const EncodeText& source, const EncodeText& written) {
  const auto first_difference = [&](const std::vector<std::string>& texts) {
    return std::ranges::find_if(texts, [&](const std::string& text) { return source(text) != written(text); });
  };
  std::vector<std::string> losses;
  const auto tell = [&](std::string_view what, const std::string& text) {
    losses.push_back(fmt::format("the GGUF file's tokenizer gives other ids to {}, as in {}", what, quote_name(text)));
  };
  constexpr std::size_t kNamed = 4;
  // Added tokens in two groups: those whose flags the format has no place for, and the others.
  for (const bool flagged : {true, false}) {
    std::string names, text;
    std::size_t count = 0;
    for (const AddedToken& token : parts.added.tokens()) {
      if ((token.lstrip || token.rstrip || token.single_word) != flagged) continue;
      const std::vector<std::string> texts = around(token.content);
      const auto found = first_difference(texts);
      if (found == texts.end() || ++count > kNamed) continue;
      if (text.empty()) text = *found;
      names += (names.empty() ? "" : ", ") + quote_name(token.content);
    }
    if (count == 0) continue;
    if (count > kNamed) names += fmt::format(" and {} more added tokens", count - kNamed);
    tell(flagged ? fmt::format("texts with {}, because the format cannot say that white space beside it goes with it "
                               "or that it stands alone (lstrip, "
                               "rstrip, single_word)",
                               names)
                 : "texts with " + names,
         text);
  }
  std::vector<Probe> probes = fixed_probes();
  probes.push_back({"texts of its own tokens", own_texts(parts, piece)});
  for (const Probe& probe : probes)
    if (const auto found = first_difference(probe.texts); found != probe.texts.end()) tell(probe.what, *found);
  return losses;
}

}  // namespace nibble::tokenizing
