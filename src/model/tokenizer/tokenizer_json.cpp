// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/tokenizer/side_tokens.h"
#include "model/tokenizer/split_rules.h"

namespace nibble::tokenizing {
namespace {

// A token named in tokenizer_config.json: its text, or an object with the text as content.
std::optional<std::int32_t> named_token(const JsonView& config, std::string_view key, const Vocabulary& vocabulary) {
  const auto view = config.find(key);
  if (!view) return std::nullopt;
  return vocabulary.find(view->is_object() ? view->at("content").string() : view->string());
}

void read_special_names(const JsonView& config, TokenizerParts& parts) {
  const Vocabulary& vocabulary = parts.vocabulary;
  parts.special.bos = named_token(config, "bos_token", vocabulary);
  parts.special.eos = named_token(config, "eos_token", vocabulary);
  parts.special.padding = named_token(config, "pad_token", vocabulary);
  parts.special.separator = named_token(config, "sep_token", vocabulary);
  parts.special.mask = named_token(config, "mask_token", vocabulary);
  if (!parts.special.unknown) parts.special.unknown = named_token(config, "unk_token", vocabulary);
}

// One template, or several with names, of which "default" is the one.
void read_chat_template(const JsonView& config, TokenizerParts& parts) {
  const auto view = config.find("chat_template");
  if (!view) return;
  if (view->is_string()) {
    parts.chat_template = view->string();
    return;
  }
  for (const JsonView& named : view->elements())
    if (named.at("name").string() == "default") parts.chat_template = named.at("template").string();
}

void add_end(std::int64_t id, TokenizerParts& parts) {
  if (!parts.vocabulary.contains(id)) return;
  const auto end = static_cast<std::int32_t>(id);
  if (std::find(parts.ends.begin(), parts.ends.end(), end) == parts.ends.end()) parts.ends.push_back(end);
}

// eos_token_id is one id or a list of them.
std::optional<std::int32_t> read_eos_ids(const JsonView& config, TokenizerParts& parts) {
  const auto view = config.find("eos_token_id");
  if (!view) return std::nullopt;
  std::optional<std::int32_t> first;
  const auto take = [&](std::int64_t id) {
    add_end(id, parts);
    if (!first && parts.vocabulary.contains(id)) first = static_cast<std::int32_t>(id);
  };
  if (view->is_array()) {
    for (const JsonView& id : view->elements()) take(id.integer());
  } else {
    take(view->integer());
  }
  return first;
}

Family family_of(const TokenizerParts& parts) {
  if (std::holds_alternative<UnigramModel>(parts.model)) return Family::unigram;
  for (const PreTokenizerStep& step : parts.pre_tokenizer)
    if (std::holds_alternative<ByteMap>(step)) return Family::byte_level;
  return Family::sentencepiece;
}

}  // namespace

TokenizerParts read_tokenizer_json(std::string_view text, const SideFiles& sides, const std::string& source) {
  const JsonText json(text, source);
  const JsonView root = json.root();
  if (const auto version = root.find("version"); version && version->string() != "1.0")
    version->unsupported(fmt::format("this version is not supported: '{}'", version->string()));
  TokenizerParts parts;
  parts.source = source;
  parts.normalizer = read_normalizer(root.find("normalizer"));
  parts.pre_tokenizer = read_pre_tokenizer(root.find("pre_tokenizer"));
  read_model(root, parts);
  parts.decoder = read_decoder(root.find("decoder"));
  read_post_processor(root.find("post_processor"), parts);
  parts.family = family_of(parts);
  if (const auto rules = matching_split_rules(parts.pre_tokenizer); !rules.empty())
    parts.pre_id = rules.front()->ids.front();
  require_agreement(sides, parts.vocabulary, source);
  apply_side_files(sides, parts);
  find_end_tokens(parts);
  return parts;
}

void apply_side_files(const SideFiles& sides, TokenizerParts& parts) {
  if (!sides.tokenizer_config.empty()) {
    const JsonText config(sides.tokenizer_config, sides.directory + "tokenizer_config.json");
    read_special_names(config.root(), parts);
    read_chat_template(config.root(), parts);
  }
  // What the template puts first and last are the begin and end of text, whoever forgot to say so.
  if (!parts.special.bos && !parts.prefix.empty()) parts.special.bos = parts.prefix.front();
  if (!parts.special.eos && !parts.suffix.empty()) parts.special.eos = parts.suffix.back();
  if (!sides.generation_config.empty()) {
    const JsonText config(sides.generation_config, sides.directory + "generation_config.json");
    const auto eos = read_eos_ids(config.root(), parts);
    if (!parts.special.eos) parts.special.eos = eos;
  }
  if (!sides.config.empty()) {
    const JsonText config(sides.config, sides.directory + "config.json");
    const auto eos = read_eos_ids(config.root(), parts);
    if (!parts.special.eos) parts.special.eos = eos;
    const auto bos = config.root().find("bos_token_id");
    if (!parts.special.bos && bos && bos->is_integer() && parts.vocabulary.contains(bos->integer()))
      parts.special.bos = static_cast<std::int32_t>(bos->integer());
  }
}

void find_end_tokens(TokenizerParts& parts) {
  static constexpr std::string_view kTexts[] = {"</s>",
                                                "<eos>",
                                                "<|endoftext|>",
                                                "<|end_of_text|>",
                                                "<|eot_id|>",
                                                "<|eom_id|>",
                                                "<|im_end|>",
                                                "<|end|>",
                                                "<|return|>",
                                                "<|call|>",
                                                "<end_of_turn>",
                                                "<end_of_utterance>",
                                                "<EOT>",
                                                "_<EOT>",
                                                "[EOT]",
                                                "[EOS]",
                                                "<｜end▁of▁sentence｜>",
                                                "<turn|>",
                                                "<|flush|>",
                                                "<|calls|>",
                                                "[e~["};
  const auto may_end = [&](std::int32_t id) {
    const TokenKind kind = parts.vocabulary[id].kind;
    return kind == TokenKind::control || kind == TokenKind::user_defined;
  };
  // Where answers end by tokens of their own (gpt-oss), this one parts the messages that an answer consists of.
  constexpr std::string_view kPartsMessages = "<|end|>";
  const bool has_own = parts.vocabulary.find("<|return|>") && parts.vocabulary.find("<|call|>");
  for (const std::string_view text : kTexts)
    if (const auto id = parts.vocabulary.find(text); id && may_end(*id) && !(has_own && text == kPartsMessages))
      add_end(*id, parts);
  for (const auto& id : {parts.special.eos, parts.special.eot, parts.special.eom})
    if (id) add_end(*id, parts);
}

}  // namespace nibble::tokenizing
