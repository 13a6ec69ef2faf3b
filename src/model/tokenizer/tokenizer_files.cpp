// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/tokenizer_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/checkpoint_parts.h"
#include "io/json_text.h"
#include "model/tokenizer/json_view.h"
#include "model/tokenizer/ranked.h"
#include "model/tokenizer/side_tokens.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

constexpr NamedFile kFiles[] = {
    {"tokenizer.json", FileRole::vocabulary},
    {"tokenizer.model", FileRole::vocabulary},
    {"vocab.json", FileRole::vocabulary},
    {"merges.txt", FileRole::vocabulary},
    {"tekken.json", FileRole::vocabulary},
    {"qwen.tiktoken", FileRole::vocabulary},
    {"tiktoken.model", FileRole::vocabulary},
    {"spiece.model", FileRole::vocabulary},
    {"vocab.txt", FileRole::foreign},
    {"sentencepiece.bpe.model", FileRole::foreign},
    {"tokenizer_config.json", FileRole::settings},
    {"special_tokens_map.json", FileRole::settings},
    {"added_tokens.json", FileRole::settings},
    {"chat_template.jinja", FileRole::settings},
    {"chat_template.json", FileRole::settings},
};
// Vocabularies in one file, by what they begin with, in the order in which they are asked for.
constexpr const char* kAlone[] = {"tokenizer.model", "tekken.json", "qwen.tiktoken", "tiktoken.model", "spiece.model"};
constexpr const char* kAdvice =
    "save the tokenizer as tokenizer.json beside it (transformers: AutoTokenizer, save_pretrained)";

std::string_view text_or_none(const std::optional<std::string>& text) {
  return text ? std::string_view(*text) : std::string_view();
}

// The settings that lie beside a vocabulary, as texts.
class Sides {
 public:
  explicit Sides(const TokenizerFiles& files)
      : files_(files),
        tokenizer_config_(read_json("tokenizer_config.json")),
        generation_config_(read_json("generation_config.json")),
        config_(files.read("config.json")),
        added_tokens_(read_json("added_tokens.json")) {}

  // A JSON file; nullopt when it is absent. Without a text it is no JSON, and not absent.
  std::optional<std::string> read_json(const char* name) const {
    auto text = files_.read(name);
    if (text && text->empty()) plain_json(*text, (files_.directory / name).string());
    return text;
  }

  SideFiles views() const {
    return {text_or_none(tokenizer_config_), text_or_none(generation_config_), text_or_none(config_),
            files_.directory.string() + "/", text_or_none(added_tokens_)};
  }

 private:
  const TokenizerFiles& files_;
  std::optional<std::string> tokenizer_config_, generation_config_, config_, added_tokens_;
};

TokenizerParts read_old_files(const TokenizerFiles& files, const Sides& sides) {
  const auto vocabulary = files.read("vocab.json"), merges = files.read("merges.txt");
  const auto special = sides.read_json("special_tokens_map.json");
  const std::string directory = sides.views().directory;
  if (vocabulary && merges)
    return read_vocabulary_files({*vocabulary, *merges, sides.views().added_tokens, text_or_none(special)},
                                 sides.views());
  if (vocabulary || merges)
    throw Error(
        ErrorKind::not_found,
        fmt::format("{0}{1}: a tokenizer needs {2}, too, which is not here; add it, or {3}", directory,
                    vocabulary ? "vocab.json" : "merges.txt", vocabulary ? "merges.txt" : "vocab.json", kAdvice));
  for (const NamedFile& file : kFiles)
    if (file.role == FileRole::foreign && is_there(files.directory / file.name))
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}{}: tokenizers in such files are not read; {}", directory, file.name, kAdvice));
  throw Error(ErrorKind::not_found,
              fmt::format("{}: neither tokenizer.json nor tokenizer.model is here", files.directory.string()));
}

// A SentencePiece model does not say whether the text is framed; tokenizer_config.json does.
void apply_frame(const SideFiles& sides, TokenizerParts& parts) {
  if (sides.tokenizer_config.empty()) return;
  const JsonText config(sides.tokenizer_config, sides.directory + "tokenizer_config.json");
  const std::string tokenizer_class = class_of(sides);
  parts.prefix.clear();
  parts.suffix.clear();
  if (tokenizer_class == "ChatGLMTokenizer") {
    for (const char* const text : {"[gMASK]", "sop"})
      if (const auto id = parts.vocabulary.find(text)) parts.prefix.push_back(*id);
    return;
  }
  const bool ends = tokenizer_class.starts_with("T5Tokenizer");
  if (parts.special.bos && config.root().boolean_or("add_bos_token", !ends)) parts.prefix = {*parts.special.bos};
  if (parts.special.eos && config.root().boolean_or("add_eos_token", ends)) parts.suffix = {*parts.special.eos};
}

// The file of its own wins over the copy in tokenizer_config.json.
void adopt_chat_template(const TokenizerFiles& files, TokenizerParts& parts) {
  if (auto chat_template = files.read("chat_template.jinja")) parts.chat_template = std::move(*chat_template);
}

}  // namespace

std::span<const NamedFile> named_files() { return kFiles; }

TokenizerParts read_vocabulary(std::string_view text, bool is_json, const SideFiles& sides, const std::string& source) {
  if (is_json) {
    const JsonText json(text, source);
    return json.root().is_object() && !json.root().find("model") && json.root().find("config")
               ? read_tekken(text, sides, source)
               : read_tokenizer_json(text, sides, source);
  }
  if (is_tiktoken(text)) return read_tiktoken(text, sides, source);
  TokenizerParts parts = read_sentencepiece(text, sides, source);
  apply_side_files(sides, parts);
  apply_frame(sides, parts);
  return parts;
}

TokenizerParts read_directory(const TokenizerFiles& files) {
  const Sides sides(files);
  const auto path = [&files](const char* name) { return (files.directory / name).string(); };
  std::optional<TokenizerParts> parts;
  if (const auto json = files.read("tokenizer.json")) {
    parts = read_tokenizer_json(*json, sides.views(), path("tokenizer.json"));
    const auto model = files.read("tokenizer.model");
    if (model && parts->family == Family::sentencepiece && !is_tiktoken(*model))
      adopt_scores(read_sentencepiece(*model, {}, path("tokenizer.model")), *parts);
  } else if (is_there(files.directory / "vocab.json") && !is_there(files.directory / "tokenizer.model")) {
    parts = read_old_files(files, sides);
  }
  for (const char* const name : kAlone)
    if (!parts)
      if (const auto text = files.read(name))
        parts = read_vocabulary(*text, std::string_view(name).ends_with(".json"), sides.views(), path(name));
  if (!parts) parts = read_old_files(files, sides);
  adopt_chat_template(files, *parts);
  return *std::move(parts);
}

}  // namespace nibble::tokenizing
