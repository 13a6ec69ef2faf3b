// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/utf8.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/base64.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/pattern.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/split_rules.h"
#include "model/tokenizer/tokenizer.h"
#include "tokenizer_data.h"

namespace nibble {
namespace {

using namespace tokenizing;
using Ids = std::vector<std::int32_t>;

// As the package `tokenizers` does it, character by character as they are seen; SentencePiece's own rule is another.
TEST(TokenizerParts, NormaliserMapsGoByGraphemesInTokenizerJson) {
  const auto json = nlohmann::json::parse(read_tokenizer_file("kind_unigram.json"));
  const std::string encoded = json["normalizer"]["normalizers"][0]["precompiled_charsmap"];
  const CharsMap map(*decode_base64(encoded), "map");
  std::size_t differing = 0;
  const auto cases = read_tokenizer_vectors("charsmap.json");
  for (const auto& pair : cases) {
    const std::string text = pair[0], expected = pair[1];
    EXPECT_EQ(map.apply_by_grapheme(text), expected) << pair[0];
    if (map.apply(text) != expected) ++differing;
  }
  EXPECT_GE(cases.size(), 700u);
  EXPECT_GE(differing, 40u);
}

TEST(TokenizerParts, ByteAlphabetIsABijection) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  std::string spelled;
  append_spelled(all, spelled);
  EXPECT_EQ(find_invalid_utf8(spelled), std::string::npos);
  EXPECT_EQ(spelled.find(' '), std::string::npos);
  std::string back;
  EXPECT_TRUE(append_unspelled(spelled, back));
  EXPECT_EQ(back, all);
  EXPECT_EQ(spell_byte(' '), char32_t{0x120});
  EXPECT_EQ(spell_byte('\n'), char32_t{0x10A});
  EXPECT_EQ(spell_byte(0xAD), char32_t{0x143});
  EXPECT_FALSE(append_unspelled("a b", back));
  EXPECT_EQ(back, all);
}

TEST(TokenizerParts, ByteTokens) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = byte_token_text(static_cast<std::uint8_t>(byte));
    EXPECT_EQ(parse_byte_token(text), static_cast<std::uint8_t>(byte)) << text;
  }
  for (const char* text : {"", "<0x0a>", "<0x0>", "<0x0A", "<0x0G>", "<0x0A>>"})
    EXPECT_FALSE(parse_byte_token(text)) << text;
}

TEST(TokenizerParts, Base64OfRfc4648) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
                                                       {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}};
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(encode_base64(bytes), text);
    EXPECT_EQ(decode_base64(text), bytes);
  }
  EXPECT_FALSE(decode_base64("Zg="));
  EXPECT_FALSE(decode_base64("Z*=="));
}

std::vector<std::string> matches(const std::string& regex, std::string_view text) {
  const Pattern pattern = Pattern::regex(regex, "test");
  PatternScan scan(pattern);
  std::vector<std::string> found;
  scan.each(text, [&](std::size_t begin, std::size_t end) { found.emplace_back(text.substr(begin, end - begin)); });
  return found;
}

TEST(TokenizerParts, RegexSpellings) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(matches("\\s+",
                    "a\xC2\x85\xE2\x80\xA8"
                    "b\xE1\xA0\x8E"
                    "c"),
            (Texts{"\xC2\x85\xE2\x80\xA8"}));  // not U+180E
  EXPECT_EQ(matches("[^\\s]+",
                    "a \xE3\x80\x80"
                    "b"),
            (Texts{"a", "b"}));
  EXPECT_EQ(matches("\\h+", "xyz0Ffg"), (Texts{"0Ff"}));
  EXPECT_EQ(matches("\\w+", "a_é-²ⓐ"), (Texts{"a_é", "ⓐ"}));
  EXPECT_EQ(matches("\\u00e9", "é"), (Texts{"é"}));
  EXPECT_EQ(matches("^b$", "a\nb\nc"), (Texts{"b"}));
  EXPECT_EQ(matches("x*", "axb"), (Texts{"", "x", "", ""}));
  EXPECT_EQ(matches("(?i:'s)", "'s'S'\xC5\xBF"), (Texts{"'s", "'S", "'\xC5\xBF"}));  // the long s folds to s
  EXPECT_EQ(matches("\\p{L}+(?!\\d)", "ab1"), (Texts{"a"}));
  EXPECT_EQ(matches("\\ba.\\b", "ab cab aé- a\xCC\x81"), (Texts{"ab", "aé", "a\xCC\x81"}));
  EXPECT_EQ(matches("a\\B.", "ab a-"), (Texts{"ab"}));
}

// Classes that others narrow, and scripts without what they share with others: U+3001 stands in Chinese texts, but in
// Japanese ones, too.
TEST(TokenizerParts, RegexClassesOfScripts) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(matches("\\p{Han}+", "漢字、か"), (Texts{"漢字"}));
  EXPECT_EQ(matches("\\p{^Han}+", "漢a字"), (Texts{"a"}));
  EXPECT_EQ(matches("[\\p{L}&&[^\\p{Han}]]+", "ab漢字éй"), (Texts{"ab", "éй"}));
  EXPECT_EQ(matches("[\\p{Lu}\\p{Lo}&&[A-F漢]]+", "xADz漢字G"), (Texts{"AD", "漢"}));
  EXPECT_EQ(matches("[a-z&&[^a-z]]|1", "a1"), (Texts{"1"}));
}

// A megabyte without blanks, through every split rule and through merges: what took more than a few steps for each
// character would end at the limit of steps, or not at all.
TEST(TokenizerParts, MegabytesWithoutBlanks) {
  std::uint32_t state = 1;
  std::vector<std::string> texts(4);
  texts[0].assign(1'000'000, 'a');
  texts[1].assign(1'000'000, 'A');
  while (texts[2].size() < 1'000'000) {
    state = state * 1664525u + 1013904223u;
    texts[2].push_back("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[(state >> 8) % 52]);
    append_utf8(texts[3], 0x4E00 + (state >> 8) % 0x5000);
  }
  for (const SplitRule& rule : split_rules()) {
    const PreTokenizer steps = pre_tokenizer_of(rule, "test");
    for (const std::string& text : texts) {
      CutText cut = CutText::whole(text);
      pre_tokenize(PreTokenizer(steps.begin(), steps.end() - 1), cut);  // without the byte map
      std::string joined;
      for (std::size_t i = 0; i < cut.pieces.size(); ++i) joined += cut[i];
      EXPECT_TRUE(joined == text) << rule.ids.front();
    }
  }
  const Tokenizer bytes =
                      Tokenizer::from_json(read_repository_file("tests/data/tale-4M/tokenizer.json"), "", "tale-4M"),
                  pieces = Tokenizer::from_gguf(llama_spm_metadata(), "llama-spm");
  for (const Tokenizer* tokenizer : {&bytes, &pieces})
    for (const std::string& text : texts)
      EXPECT_TRUE(tokenizer->decode(tokenizer->encode(text, {.add_special = false})) == text);
}

// What the package `tokenizers` leaves as it is, because its Unicode does not know it: U+1DF9 would be reordered.
TEST(TokenizerParts, NormalFormsGoByUnicodeNine) {
  const auto nfc = [](const char* text) { return normalize({ToForm{UnicodeForm::nfc}}, text); };
  EXPECT_EQ(nfc("e\xCC\x81"), "é");
  EXPECT_EQ(nfc("a\xCC\x81\xE1\xB7\xB9"), "á\xE1\xB7\xB9");
  EXPECT_EQ(nfc("x\xD2\x83\xE1\xB7\xB9"), "x\xD2\x83\xE1\xB7\xB9");
  EXPECT_EQ(nfc("x\xCC\x81\xCC\xA3"), "x\xCC\xA3\xCC\x81");  // known since long: reordered
  EXPECT_EQ(nfc("한글 かな 漢字 Ünï"), "한글 かな 漢字 Ünï");
}

// A run that needs more than the matcher's first stack.
TEST(TokenizerParts, LongRunOfOneKind) {
  const std::string text(200000, 'a');
  EXPECT_EQ(matches("(?:a|b)+c?", text), (std::vector<std::string>{text}));
}

TEST(TokenizerParts, AddedTokensLeftmostLongest) {
  const AddedTokens added({{.id = 0, .content = "<a", .matched = {}},
                           {.id = 1, .content = "<a>", .matched = {}},
                           {.id = 2, .content = "</s>", .matched = {}, .special = true}});
  const auto ids_of = [&](std::string_view text, bool parse_special) {
    std::string out;
    for (const Section& section : added.cut(text, AddedTokens::Stage::raw, parse_special))
      out += section.id < 0 ? "[" + std::string(section.text) + "]" : std::to_string(section.id);
    return out;
  };
  EXPECT_EQ(ids_of("<a><ax</s>", true), "10[x]2");
  EXPECT_EQ(ids_of("<a><ax</s>", false), "10[x</s>]");
  EXPECT_EQ(ids_of("", true), "");
}

TEST(TokenizerParts, SentencePieceSpaces) {
  const auto apply = [](SentencePieceSpaces step, const char* text) { return normalize({step}, text); };
  EXPECT_EQ(apply({true, true, true}, "  a   b "), "▁a▁b");
  EXPECT_EQ(apply({false, true, true}, "  a "), "▁▁▁a▁");
  EXPECT_EQ(apply({true, false, false}, " a  b"), "a b");
  EXPECT_EQ(apply({true, true, true}, "   "), "");
  EXPECT_EQ(apply({false, true, true}, ""), "");
}

// Merging by the queue equals merging by the definition: again and again the best pair, leftmost first.
TEST(TokenizerParts, MergesFollowTheDefinition) {
  std::vector<Token> tokens;
  std::uint32_t state = 1;
  const auto random = [&](std::uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
  };
  for (const char* text : {"a", "b", "c"}) tokens.push_back({.text = text});
  for (int i = 0; i < 40; ++i) {
    const std::string text = tokens[random(static_cast<std::uint32_t>(tokens.size()))].text +
                             tokens[random(static_cast<std::uint32_t>(tokens.size()))].text;
    bool known = text.size() > 6;
    for (const Token& token : tokens) known = known || token.text == text;
    if (!known) tokens.push_back({.text = text, .score = -static_cast<float>(random(9))});  // many ties
  }
  const Vocabulary vocabulary(tokens);
  const BpeModel model = BpeModel::from_scores(vocabulary, {}, false);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (std::uint32_t i = random(60); i > 0; --i) text.push_back(static_cast<char>('a' + random(3)));
    std::vector<std::string> symbols;
    for (const char c : text) symbols.emplace_back(1, c);
    for (;;) {
      std::size_t best = symbols.size();
      float best_score = -1e30f;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto id = vocabulary.find(symbols[i] + symbols[i + 1]);
        if (id && vocabulary[*id].score > best_score) {
          best_score = vocabulary[*id].score;
          best = i;
        }
      }
      if (best == symbols.size()) break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    Ids expected;
    for (const std::string& symbol : symbols) expected.push_back(*vocabulary.find(symbol));
    WordCache cache;
    Ids ids;
    model.encode(text, vocabulary, cache, ids);
    EXPECT_EQ(ids, expected) << text;
  }
}

// Cutting before spaces is only a shortcut: a vocabulary that joins words across them must not take it.
TEST(TokenizerParts, PiecesAcrossSpaces) {
  std::vector<Token> tokens = {{.text = "a"}, {.text = "▁"}, {.text = "a▁", .score = -1}, {.text = "▁a", .score = -2}};
  const Vocabulary across(tokens);
  WordCache cache;
  Ids ids;
  BpeModel::from_scores(across, {.unknown = 0, .continuing_prefix = {}, .end_suffix = {}}, false)
      .encode("a▁a", across, cache, ids);
  EXPECT_EQ(ids, (Ids{2, 0}));
  tokens[2].text = "aa";
  const Vocabulary within(tokens);
  WordCache other;
  ids.clear();
  BpeModel::from_scores(within, {.unknown = 0, .continuing_prefix = {}, .end_suffix = {}}, false)
      .encode("a▁a▁▁aa", within, other, ids);
  EXPECT_EQ(ids, (Ids{0, 3, 1, 1, 2}));
}

TEST(TokenizerParts, InvalidUtf8IsReplaced) {
  const Tokenizer tokenizer = Tokenizer::from_gguf(gpt2_metadata(), "gpt-2");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xFF"
                                              "b\xE2\x82")),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
}

TEST(TokenizerParts, ControlTokensOnlyWhenAsked) {
  const Tokenizer tokenizer = Tokenizer::from_gguf(phi3_metadata(), "phi-3");
  const auto plain = tokenizer.encode("<|user|>", {.add_special = false, .parse_special = false});
  EXPECT_GT(plain.size(), 1u);
  EXPECT_EQ(tokenizer.decode(plain), "<|user|>");
  // This family's control tokens take the white space behind them; text begins with a space after each.
  EXPECT_EQ(tokenizer.encode("<|user|> \nHi<|end|>", {.add_special = true, .parse_special = true}),
            (Ids{1, 32010, 6324, 32007}));
  EXPECT_EQ(tokenizer.decode(Ids{1, 32010, 6324, 32007}, true), "Hi");
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_TRUE(tokenizer.is_end(32000));
  EXPECT_TRUE(tokenizer.is_end(32007));
  EXPECT_FALSE(tokenizer.is_end(6324));
}

// An answer of several messages goes on behind the first.
TEST(TokenizerParts, MessagesOfAnAnswerDoNotEndIt) {
  GgufMetadata metadata = phi3_metadata();
  std::vector<std::string> tokens = *metadata.strings("tokenizer.ggml.tokens");
  const auto rename = [&](const std::string& from, const std::string& to) {
    *std::ranges::find(tokens, from) = to;
    metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings(tokens));
    return Tokenizer::from_gguf(metadata, "gpt-oss");
  };
  EXPECT_TRUE(rename("<|placeholder1|>", "<|return|>").is_end(32007));
  const Tokenizer tokenizer = rename("<|placeholder2|>", "<|call|>");
  EXPECT_FALSE(tokenizer.is_end(*tokenizer.find_token("<|end|>")));
  for (const char* const end : {"<|return|>", "<|call|>", "<|endoftext|>"})
    EXPECT_TRUE(tokenizer.is_end(*tokenizer.find_token(end))) << end;
}

// Streaming: pieces joined are the text with its leading space, whatever bytes they cut apart.
TEST(TokenizerParts, PiecesJoinToTheText) {
  const std::string text = "Größe 🦙 नमस्ते\n";
  for (const Tokenizer& tokenizer :
       {Tokenizer::from_gguf(llama_spm_metadata(), "llama-spm"), Tokenizer::from_gguf(gpt2_metadata(), "gpt-2")}) {
    const bool prefixed = tokenizer.kind() == "SentencePiece BPE";
    std::string joined;
    for (const std::int32_t id : tokenizer.encode(text, {.add_special = false})) joined += tokenizer.piece(id);
    EXPECT_EQ(joined, (prefixed ? " " : "") + text);
  }
}

}  // namespace
}  // namespace nibble
