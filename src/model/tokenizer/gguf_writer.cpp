// SPDX-License-Identifier: Apache-2.0
//
// The tokenizer.* keys of a GGUF file, as llama.cpp reads them.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "io/message_text.h"
#include "model/tokenizer/parts.h"
#include "model/tokenizer/split_rules.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

// llama.cpp's scores of tokens that no merge makes: added ones, and those that only fill the embedding's rows.
constexpr float kAddedScore = -1000.0f;
constexpr float kPaddingScore = -10000.0f;

[[noreturn]] void unsupported(const TokenizerParts& parts, std::string_view what) {
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: a GGUF file cannot hold this tokenizer: {}", parts.source, what));
}

struct Columns {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<std::int32_t> kinds;
};

std::string with_plain_spaces(std::string text) {
  return normalize({Replace{Pattern::literal(std::string(kVisibleSpace)), " "}}, std::move(text));
}

Columns make_columns(const TokenizerParts& parts, std::uint64_t rows) {
  const Vocabulary& vocabulary = parts.vocabulary;
  if (rows > Vocabulary::kMaxTokens)
    throw Error(ErrorKind::invalid_argument, fmt::format("more embedding rows than any vocabulary has: {}", rows));
  Columns columns;
  std::set<std::string> seen;
  for (std::uint64_t id = 0; id < std::max<std::uint64_t>(rows, vocabulary.size()); ++id) {
    Token token;
    if (id < vocabulary.size()) token = vocabulary[id];
    if (id >= rows && !token.text.empty())
      throw Error(ErrorKind::corrupt, fmt::format("{}: token {} is {}, but the embedding has only {} rows",
                                                  parts.source, id, quote_name(token.text), rows));
    if (id >= rows) break;
    if (token.text.empty()) {
      token.text = fmt::format("[PAD{}]", id);
      token.kind = TokenKind::unused;
      token.score = kPaddingScore;
    }
    if (token.kind == TokenKind::user_defined && parts.family == Family::sentencepiece)
      token.text = with_plain_spaces(token.text);
    while (!seen.insert(token.text).second)
      token.text += fmt::format("[{}]", id);  // llama.cpp ends itself on two equal texts
    columns.texts.push_back(std::move(token.text));
    columns.scores.push_back(token.score);
    columns.kinds.push_back(static_cast<std::int32_t>(token.kind));
  }
  return columns;
}

// llama.cpp takes a word that is a token as it is under some rules. That makes no difference when every token's own
// spelling merges into it.
bool tokens_merge_into_themselves(const TokenizerParts& parts) {
  const BpeModel& bpe = *parts.bpe();
  BpeSettings settings = bpe.settings();
  settings.ignore_merges = false;
  const BpeModel merging(bpe.merges(), settings, parts.vocabulary);
  WordCache cache;
  for (std::size_t id = 0; id < parts.vocabulary.size(); ++id) {
    if (parts.vocabulary[id].kind != TokenKind::normal) continue;
    std::vector<std::int32_t> ids;
    merging.encode(parts.vocabulary[id].text, parts.vocabulary, cache, ids);
    if (ids.size() != 1 || ids[0] != static_cast<std::int32_t>(id)) return false;
  }
  return true;
}

std::string choose_split_rule(const TokenizerParts& parts) {
  const auto rules = matching_split_rules(parts.pre_tokenizer);
  if (rules.empty())
    unsupported(parts, "llama.cpp has no split rule (tokenizer.ggml.pre) with these regular expressions");
  const bool ignores = parts.bpe()->settings().ignore_merges;
  const auto agrees = [&](const SplitRule* rule) { return rule != nullptr && rule->ignore_merges == ignores; };
  if (agrees(split_rule(parts.pre_id)) || tokens_merge_into_themselves(parts)) return parts.pre_id;
  const auto rule = std::find_if(rules.begin(), rules.end(), agrees);
  if (rule == rules.end())
    unsupported(parts,
                fmt::format("under llama.cpp's split rule '{}' some words would become other tokens (ignore_merges)",
                            parts.pre_id));
  return std::string((*rule)->ids.front());
}

// "left right" in the order of ranks.
std::vector<std::string> spelled_merges(const TokenizerParts& parts) {
  std::vector<MergeTable::Entry> entries = parts.bpe()->merges().entries();
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.merge.rank < b.merge.rank; });
  const auto spelt = [&](Symbol symbol) {
    return normalize({Replace{Pattern::literal(" "), "\xC4\xA0"}},
                     parts.vocabulary[symbol].text);  // a space would be taken for the border
  };
  std::vector<std::string> merges;
  for (const MergeTable::Entry& entry : entries) merges.push_back(spelt(entry.left) + " " + spelt(entry.right));
  return merges;
}

void write_byte_level(const TokenizerParts& parts, GgufMetadata& metadata) {
  const BpeSettings& settings = parts.bpe()->settings();
  if (!settings.continuing_prefix.empty() || !settings.end_suffix.empty())
    unsupported(parts, "its words have a prefix or suffix");
  // llama.cpp does not normalise, and its converter takes models that do all the same; lost_in_gguf() says what that
  // changes.
  metadata.set("tokenizer.ggml.pre", GgufValue::of_string(choose_split_rule(parts)));
  metadata.set("tokenizer.ggml.merges", GgufValue::of_strings(spelled_merges(parts)));
}

// T5's: white space is what parts words, and nothing else.
bool removes_blanks(const Split& split) {
  return split.behaviour == SplitBehaviour::removed && !split.invert && split.pattern.text() == "\\s";
}

// Whether a space is put before the text. Error(unsupported) where spaces are not spelt or words not cut as llama.cpp's
// SentencePiece does.
bool adds_space_prefix(const TokenizerParts& parts) {
  bool prefix = false;
  bool escapes = false;
  for (const NormalizerStep& step : parts.normalizer) {
    if (const auto* prepend = std::get_if<Prepend>(&step); prepend != nullptr && prepend->text == kVisibleSpace) {
      prefix = true;
    } else if (const auto* replace = std::get_if<Replace>(&step); replace != nullptr && replace->pattern.is_literal() &&
                                                                  replace->pattern.text() == " " &&
                                                                  replace->content == kVisibleSpace) {
      escapes = true;
    } else if (const auto* spaces = std::get_if<SentencePieceSpaces>(&step); spaces != nullptr && spaces->escape) {
      prefix = spaces->add_prefix;
      escapes = true;
    }  // what else the normalizer does is lost; lost_in_gguf() says what that changes
  }
  for (const PreTokenizerStep& step : parts.pre_tokenizer) {
    if (const auto* metaspace = std::get_if<Metaspace>(&step);
        metaspace != nullptr && metaspace->replacement == kVisibleSpace && !escapes) {
      prefix = metaspace->prepend != PrependScheme::never;
      escapes = true;
    } else if (const auto* split = std::get_if<Split>(&step);
               split == nullptr ||
               !(removes_blanks(*split) || (escapes && split->pattern.is_literal() && split->pattern.text() == " "))) {
      unsupported(parts, "it cuts text into words by a rule of its own");
    }
  }
  if (!escapes) unsupported(parts, "spaces are not spelt as U+2581");
  return prefix;
}

// Earlier merges have higher scores.
std::vector<float> scores_from_ranks(const TokenizerParts& parts) {
  std::vector<float> scores(parts.vocabulary.size(), kAddedScore);
  std::map<Symbol, std::uint32_t> best;
  std::uint32_t last = 0;
  for (const MergeTable::Entry& entry : parts.bpe()->merges().entries()) {
    const auto [place, added] = best.emplace(entry.merge.result, entry.merge.rank);
    if (!added) place->second = std::min(place->second, entry.merge.rank);
    last = std::max(last, entry.merge.rank);
  }
  for (std::size_t id = 0; id < scores.size(); ++id) {
    const TokenKind kind = parts.vocabulary[id].kind;
    if (kind == TokenKind::normal || kind == TokenKind::unused)
      scores[id] = -static_cast<float>(last + 1);  // characters: below all merges
    if (kind == TokenKind::byte || kind == TokenKind::unknown) scores[id] = 0;
  }
  for (const auto& [symbol, rank] : best) scores[symbol] = -static_cast<float>(rank);
  return scores;
}

// The model's own, or the order of merges in their place.
std::vector<float> scores_of(const TokenizerParts& parts, const Columns& columns) {
  std::vector<float> scores = columns.scores;
  if (parts.vocabulary.has_scores) return scores;
  const std::vector<float> ranks = scores_from_ranks(parts);
  std::copy_n(ranks.begin(), std::min(ranks.size(), scores.size()), scores.begin());
  for (std::size_t id = 0; id < scores.size(); ++id)
    if (id >= parts.vocabulary.size() || parts.vocabulary[id].text.empty()) scores[id] = kPaddingScore;
  return scores;
}

// Gemma 4's vocabulary has merges of its own, not those of scores; it is known by its turns.
bool is_gemma4(const TokenizerParts& parts) {
  return parts.family == Family::sentencepiece && !parts.vocabulary.has_scores && parts.vocabulary.find("<turn|>");
}

void write_gemma4(const TokenizerParts& parts, Columns& columns, GgufMetadata& metadata) {
  if (!parts.bpe()->settings().byte_fallback) unsupported(parts, "it has no byte tokens for unknown characters");
  if (adds_space_prefix(parts)) unsupported(parts, "it puts a space before the text");
  // What a chat's reader is to see.
  constexpr std::string_view kShown[] = {"<|channel>",       "<channel|>",       "<|tool_call>", "<tool_call|>",
                                         "<|tool_response>", "<tool_response|>", "<|\"|>"};
  for (std::size_t id = 0; id < columns.texts.size(); ++id)
    if (std::ranges::find(kShown, columns.texts[id]) != std::end(kShown))
      columns.kinds[id] = static_cast<std::int32_t>(TokenKind::user_defined);
  metadata.set("tokenizer.ggml.scores", GgufValue::of_f32s(scores_of(parts, columns)));
  metadata.set("tokenizer.ggml.merges", GgufValue::of_strings(spelled_merges(parts)));
}

// The value of a SentencePiece setting, by what the normalizer does.
bool removes_extra_spaces(const TokenizerParts& parts) {
  for (const PreTokenizerStep& step : parts.pre_tokenizer)
    if (const auto* split = std::get_if<Split>(&step); split != nullptr && removes_blanks(*split)) return true;
  return std::ranges::any_of(parts.normalizer, [](const NormalizerStep& step) {
    if (const auto* spaces = std::get_if<SentencePieceSpaces>(&step)) return spaces->remove_extra;
    const auto* replace = std::get_if<Replace>(&step);
    return replace != nullptr && replace->pattern.text() == " {2,}";
  });
}

void write_unigram(const TokenizerParts& parts, const Columns& columns, GgufMetadata& metadata) {
  metadata.set("tokenizer.ggml.pre", GgufValue::of_string("default"));
  metadata.set("tokenizer.ggml.scores", GgufValue::of_f32s(columns.scores));
  metadata.set("tokenizer.ggml.add_space_prefix", GgufValue::of_bool(adds_space_prefix(parts)));
  metadata.set("tokenizer.ggml.remove_extra_whitespaces", GgufValue::of_bool(removes_extra_spaces(parts)));
  for (const NormalizerStep& step : parts.normalizer)
    if (const auto* map = std::get_if<ApplyCharsMap>(&step)) {
      std::vector<std::uint64_t> bytes;
      for (const char byte : map->map->blob()) bytes.push_back(static_cast<std::uint8_t>(byte));
      metadata.set("tokenizer.ggml.precompiled_charsmap", {GgufType::array, GgufArray{GgufType::u8, std::move(bytes)}});
    }
}

void write_sentencepiece(const TokenizerParts& parts, const Columns& columns, GgufMetadata& metadata) {
  if (!parts.bpe()->settings().byte_fallback) unsupported(parts, "it has no byte tokens for unknown characters");
  const bool prefix = adds_space_prefix(parts);
  metadata.set("tokenizer.ggml.pre", GgufValue::of_string("default"));
  metadata.set("tokenizer.ggml.scores", GgufValue::of_f32s(scores_of(parts, columns)));
  metadata.set("tokenizer.ggml.add_space_prefix", GgufValue::of_bool(prefix));
}

void write_special_ids(const TokenizerParts& parts, GgufMetadata& metadata) {
  const auto write = [&](std::string_view name, const std::optional<std::int32_t>& id) {
    if (id)
      metadata.set(fmt::format("tokenizer.ggml.{}_token_id", name), GgufValue::of_u32(static_cast<std::uint32_t>(*id)));
  };
  write("bos", parts.special.bos);
  write("eos", parts.special.eos);
  write("eot", parts.special.eot);
  write("eom", parts.special.eom);
  write("unknown", parts.special.unknown);
  write("seperator", parts.special.separator);
  write("padding", parts.special.padding);
  write("mask", parts.special.mask);
  if (parts.prefix.size() != (parts.adds_bos() ? 1u : 0u) || parts.suffix.size() != (parts.adds_eos() ? 1u : 0u))
    unsupported(parts, "it frames text by other tokens than the begin and the end of text");
  metadata.set("tokenizer.ggml.add_bos_token", GgufValue::of_bool(parts.adds_bos()));
  metadata.set("tokenizer.ggml.add_eos_token", GgufValue::of_bool(parts.adds_eos()));
}

}  // namespace

GgufMetadata write_gguf(const TokenizerParts& parts, std::uint64_t rows) {
  GgufMetadata metadata;
  Columns columns = make_columns(parts, rows);
  switch (parts.family) {
    case Family::unigram:
      metadata.set("tokenizer.ggml.model", GgufValue::of_string("t5"));
      write_unigram(parts, columns, metadata);
      break;
    case Family::byte_level:
      metadata.set("tokenizer.ggml.model", GgufValue::of_string("gpt2"));
      write_byte_level(parts, metadata);
      break;
    case Family::sentencepiece:
      metadata.set("tokenizer.ggml.model", GgufValue::of_string(is_gemma4(parts) ? "gemma4" : "llama"));
      is_gemma4(parts) ? write_gemma4(parts, columns, metadata) : write_sentencepiece(parts, columns, metadata);
      break;
  }
  metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings(std::move(columns.texts)));
  metadata.set("tokenizer.ggml.token_type", GgufValue::of_i32s(columns.kinds));
  write_special_ids(parts, metadata);
  if (!parts.chat_template.empty()) metadata.set("tokenizer.chat_template", GgufValue::of_string(parts.chat_template));
  return metadata;
}

}  // namespace nibble::tokenizing
