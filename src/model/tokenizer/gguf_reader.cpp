// SPDX-License-Identifier: Apache-2.0
//
// Tokenizers in GGUF metadata, by llama.cpp's rules: model "llama" (SentencePiece BPE with scores), "gpt2" (byte-level
// BPE with merges), "gemma4" (merges over text whose spaces are U+2581) and "t5" (Unigram).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/letter_case.h"
#include "base/utf8.h"
#include "io/message_text.h"
#include "model/tokenizer/parts.h"
#include "model/tokenizer/split_rules.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::string key(std::string_view name) { return std::string(kPrefix) + std::string(name); }

[[noreturn]] void corrupt(const std::string& source, std::string_view name, std::string_view what) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}: {}", source, key(name), what));
}

// As many numbers as tokens, or none.
std::optional<std::vector<double>> numbers_per_token(const GgufMetadata& metadata, std::string_view name,
                                                     std::size_t num_tokens, const std::string& source) {
  auto values = metadata.numbers(key(name));
  if (values && values->size() < num_tokens)
    corrupt(source, name, fmt::format("{} values for {} tokens", values->size(), num_tokens));
  return values;
}

std::vector<Token> read_tokens(const GgufMetadata& metadata, bool spells_bytes_in_hex, const std::string& source) {
  const std::vector<std::string>* texts = metadata.strings(key("tokens"));
  if (texts == nullptr) corrupt(source, "tokens", "the key is missing");
  if (texts->empty() || texts->size() > Vocabulary::kMaxTokens)
    corrupt(source, "tokens", fmt::format("{} tokens", texts->size()));
  const auto scores = numbers_per_token(metadata, "scores", texts->size(), source);
  const auto kinds = numbers_per_token(metadata, "token_type", texts->size(), source);
  std::vector<Token> tokens(texts->size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    Token& token = tokens[id];
    token.text = (*texts)[id];
    if (find_invalid_utf8(token.text) != std::string::npos)
      corrupt(source, "tokens", fmt::format("token {} is not UTF-8", id));
    if (scores) token.score = static_cast<float>((*scores)[id]);
    if (std::isnan(token.score)) corrupt(source, "scores", fmt::format("the score of token {} is not a number", id));
    const double kind = kinds ? (*kinds)[id] : 1;
    // llama.cpp takes numbers that it does not know as "undefined", which takes part in nothing special.
    token.kind = kind >= 1 && kind <= 6 ? static_cast<TokenKind>(static_cast<int>(kind)) : TokenKind::normal;
    if (spells_bytes_in_hex && token.kind == TokenKind::normal && parse_byte_token(token.text))
      token.kind = TokenKind::byte;
    if (token.text.empty()) {
      token.text = fmt::format("[EMPTY_{}]", id);
      token.kind = TokenKind::unused;
    }
    token.special = token.kind == TokenKind::control || token.kind == TokenKind::unknown;
  }
  return tokens;
}

void read_vocabulary(const GgufMetadata& metadata, bool spells_bytes_in_hex, TokenizerParts& parts) {
  // Of two tokens with one text the first is what the text becomes; the second is never made.
  parts.vocabulary = Vocabulary(read_tokens(metadata, spells_bytes_in_hex, parts.source));
}

// Rules under which spaces are spelt U+2581 and characters are not mapped to bytes' letters.
bool is_spelled_rule(std::string_view pre) {
  return pre == "gemma4" || pre == "sarvam-moe" || pre == "granite-embed-multi-311m";
}

void read_special_ids(const GgufMetadata& metadata, TokenizerParts& parts) {
  const auto read = [&](std::string_view name, std::optional<std::int32_t>& id) {
    const auto value = metadata.unsigned_integer(key(name));
    if (value && *value < parts.vocabulary.size())
      id = static_cast<std::int32_t>(*value);  // others are ignored, as llama.cpp does
  };
  read("bos_token_id", parts.special.bos);
  read("eos_token_id", parts.special.eos);
  read("eot_token_id", parts.special.eot);
  read("eom_token_id", parts.special.eom);
  read("unknown_token_id", parts.special.unknown);
  read("seperator_token_id", parts.special.separator);  // so spelt in the format
  read("padding_token_id", parts.special.padding);
  read("mask_token_id", parts.special.mask);
}

void read_added_tokens(const GgufMetadata& metadata, TokenizerParts& parts) {
  const std::string name = lower_case(metadata.string("general.name").value_or(""));
  // The format has no place for rstrip; llama.cpp knows it of this family by name.
  const bool is_phi3 = name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
  std::vector<AddedToken> added;
  for (std::size_t id = 0; id < parts.vocabulary.size(); ++id) {
    const Token& token = parts.vocabulary[id];
    if (token.kind != TokenKind::control && token.kind != TokenKind::user_defined && token.kind != TokenKind::unknown)
      continue;
    AddedToken entry;
    entry.id = static_cast<std::int32_t>(id);
    entry.content = token.text;
    if (parts.family == Family::sentencepiece && !parts.vocabulary.has_scores)
      entry.content = normalize({Replace{Pattern::literal(std::string(kVisibleSpace)), " "}}, std::move(entry.content));
    entry.special = token.kind != TokenKind::user_defined;
    entry.rstrip = is_phi3 && token.text != "<unk>" && token.text != "<s>" && token.text != "<|endoftext|>";
    added.push_back(std::move(entry));
  }
  parts.added = AddedTokens(std::move(added));
}

void read_scored_model(const GgufMetadata& metadata, TokenizerParts& parts) {
  parts.family = Family::sentencepiece;
  parts.special = {.bos = 1, .eos = 2, .unknown = 0};
  read_vocabulary(metadata, true, parts);
  if (metadata.find(key("scores")) == nullptr)
    corrupt(parts.source, "scores", "the key is missing, and without scores the order of merges is lost");
  parts.vocabulary.has_scores = true;
  for (auto* id : {&parts.special.bos, &parts.special.eos, &parts.special.unknown})
    if (!parts.vocabulary.contains(**id)) id->reset();
  if (metadata.boolean(key("add_space_prefix")).value_or(true))
    parts.normalizer.emplace_back(Prepend{std::string(kVisibleSpace)});
  parts.normalizer.emplace_back(Replace{Pattern::literal(" "), std::string(kVisibleSpace)});
  parts.decoder.steps = {Replace{Pattern::literal(std::string(kVisibleSpace)), " "}, FromByteToken{}};
  parts.decoder.strip_left = parts.normalizer.size() > 1 ? 1 : 0;
  read_special_ids(metadata, parts);
  BpeSettings settings;
  settings.byte_fallback = true;
  settings.unknown = parts.special.unknown;
  parts.model = BpeModel::from_scores(parts.vocabulary, settings, true);
}

MergeTable read_merges(const GgufMetadata& metadata, const TokenizerParts& parts) {
  const std::vector<std::string>* texts = metadata.strings(key("merges"));
  if (texts == nullptr) corrupt(parts.source, "merges", "the key is missing");
  MergeTable table(texts->size());
  for (std::size_t rank = 0; rank < texts->size(); ++rank) {
    const std::string_view text = (*texts)[rank];
    // The first character may be a space itself.
    const std::size_t space = text.find(' ', 1);
    if (space == std::string_view::npos)
      corrupt(parts.source, "merges",
              fmt::format("merge {} has no space between two pieces: {}", rank, quote_name(text)));
    const std::string_view left = text.substr(0, space);
    const std::string_view right = text.substr(space + 1);
    const std::string merged = std::string(left) + std::string(right);
    const auto left_id = parts.vocabulary.find(left);
    const auto right_id = parts.vocabulary.find(right);
    const auto merged_id = parts.vocabulary.find(merged);
    if (!left_id || !right_id || !merged_id)
      corrupt(parts.source, "merges",
              fmt::format("merge {} needs a token that the vocabulary does not have: {}", rank,
                          quote_name(!left_id    ? left
                                     : !right_id ? right
                                                 : std::string_view(merged))));
    table.insert(static_cast<Symbol>(*left_id), static_cast<Symbol>(*right_id),
                 {static_cast<std::uint32_t>(rank), static_cast<Symbol>(*merged_id)});
  }
  return table;
}

void read_merged_model(const GgufMetadata& metadata, TokenizerParts& parts) {
  parts.family = Family::byte_level;
  const std::string pre = metadata.string(key("pre")).value_or("default");
  const SplitRule* rule = split_rule(pre);
  if (rule == nullptr)
    throw Error(
        ErrorKind::unsupported,
        fmt::format("{}: {}: the split rule '{}' is not known; its text would be cut into other tokens than the model "
                    "was trained on",
                    parts.source, key("pre"), pre));
  parts.pre_id = pre;
  read_vocabulary(metadata, false, parts);
  parts.pre_tokenizer = pre_tokenizer_of(*rule, parts.source + ": " + key("pre"));
  BpeSettings settings;
  settings.ignore_merges = rule->ignore_merges;
  parts.model = BpeModel(read_merges(metadata, parts), settings, parts.vocabulary);
  parts.decoder.steps = {FromByteAlphabet{}};
  read_special_ids(metadata, parts);
}

std::string with_visible_spaces(std::string text) {
  return normalize({Replace{Pattern::literal(" "), std::string(kVisibleSpace)}}, std::move(text));
}

// Merges over whole texts: Gemma 4, and what is cut as it is. llama.cpp cuts at line ends first, which makes no
// difference to tokens that are either line ends or none.
void read_spelled_model(const GgufMetadata& metadata, TokenizerParts& parts) {
  parts.family = Family::sentencepiece;
  // The format spells user-defined tokens by plain spaces, and their merges by the visible ones.
  std::vector<Token> tokens = read_tokens(metadata, true, parts.source);
  for (Token& token : tokens)
    if (token.kind == TokenKind::user_defined) token.text = with_visible_spaces(std::move(token.text));
  parts.vocabulary = Vocabulary(std::move(tokens));
  read_special_ids(metadata, parts);
  parts.normalizer = {Replace{Pattern::literal(" "), std::string(kVisibleSpace)}};
  parts.decoder.steps = {Replace{Pattern::literal(std::string(kVisibleSpace)), " "}, FromByteToken{}};
  BpeSettings settings;
  settings.byte_fallback = true;
  settings.fuse_unknown = true;
  settings.unknown = parts.special.unknown;
  parts.model = BpeModel(read_merges(metadata, parts), settings, parts.vocabulary);
}

void read_unigram_model(const GgufMetadata& metadata, TokenizerParts& parts) {
  parts.family = Family::unigram;
  parts.special = {.eos = 1, .unknown = 2, .padding = 0};
  read_vocabulary(metadata, true, parts);
  if (metadata.find(key("scores")) == nullptr)
    corrupt(parts.source, "scores", "the key is missing, and without scores no piece is more probable than another");
  parts.vocabulary.has_scores = true;
  for (auto* id : {&parts.special.eos, &parts.special.unknown, &parts.special.padding})
    if (!parts.vocabulary.contains(**id)) id->reset();
  read_special_ids(metadata, parts);
  if (const auto bytes = metadata.numbers(key("precompiled_charsmap"))) {
    std::string blob;
    for (const double byte : *bytes) blob.push_back(static_cast<char>(static_cast<int>(byte) & 0xFF));
    parts.normalizer.emplace_back(
        ApplyCharsMap{std::make_shared<const CharsMap>(blob, parts.source + ": " + key("precompiled_charsmap"))});
  }
  const SentencePieceSpaces spaces{metadata.boolean(key("remove_extra_whitespaces")).value_or(false),
                                   metadata.boolean(key("add_space_prefix")).value_or(true), true};
  parts.normalizer.emplace_back(spaces);
  parts.decoder.steps = {Replace{Pattern::literal(std::string(kVisibleSpace)), " "}, FromByteToken{}};
  parts.decoder.strip_left = spaces.add_prefix ? 1 : 0;
  bool has_bytes = true;
  for (unsigned byte = 0; byte < 256; ++byte)
    has_bytes = has_bytes && parts.vocabulary.byte_token(static_cast<std::uint8_t>(byte)) >= 0;
  parts.model = UnigramModel(parts.vocabulary, {parts.special.unknown.value_or(-1), has_bytes, true});
}

bool adds_bos_by_default(const TokenizerParts& parts) {
  if (parts.family == Family::unigram) return false;
  if (parts.family == Family::sentencepiece) return parts.vocabulary.has_scores;
  const SplitRule* rule = split_rule(parts.pre_id);
  return rule != nullptr && rule->add_bos;
}

}  // namespace

TokenizerParts read_gguf(const GgufMetadata& metadata, const std::string& source) {
  const std::string model = metadata.string(key("model")).value_or("none");
  TokenizerParts parts;
  parts.source = source;
  if (model == "none") {
    throw Error(ErrorKind::not_found,
                fmt::format("{}: this file carries no tokenizer (tokenizer.ggml.model is 'none' or missing)", source));
  } else if (model == "llama") {
    read_scored_model(metadata, parts);
  } else if (model == "gemma4" || (model == "gpt2" && is_spelled_rule(metadata.string(key("pre")).value_or("")))) {
    read_spelled_model(metadata, parts);
  } else if (model == "gpt2") {
    read_merged_model(metadata, parts);
  } else if (model == "t5") {
    read_unigram_model(metadata, parts);
  } else {
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: {}: tokenizers of kind '{}' are not supported; llama, gpt2, gemma4 and t5 are", source,
                            key("model"), model));
  }
  read_added_tokens(metadata, parts);
  // llama.cpp puts Gemma 4's begin token before every text, whatever the file says.
  if (parts.special.bos &&
      (model == "gemma4" || metadata.boolean(key("add_bos_token")).value_or(adds_bos_by_default(parts))))
    parts.prefix = {*parts.special.bos};
  if (parts.special.eos && metadata.boolean(key("add_eos_token")).value_or(parts.family == Family::unigram))
    parts.suffix = {*parts.special.eos};
  parts.chat_template = metadata.string("tokenizer.chat_template").value_or("");
  find_end_tokens(parts);
  return parts;
}

}  // namespace nibble::tokenizing
