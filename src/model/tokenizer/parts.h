// SPDX-License-Identifier: Apache-2.0
//
// What a tokenizer consists of, whichever file it was read from. Readers fill it, Tokenizer runs it, writers turn it
// into files again. Immutable once inside a Tokenizer, safe from many threads.
//
//   TokenizerParts parts = read_sentencepiece(bytes, "tokenizer.model");
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "io/gguf/gguf_value.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/piece_decoder.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/unigram.h"
#include "model/tokenizer/vocabulary.h"

namespace nibble::tokenizing {

enum class Family { byte_level, sentencepiece, unigram };

struct SpecialIds {
  std::optional<std::int32_t> bos = {}, eos = {}, eot = {}, eom = {}, unknown = {}, separator = {}, padding = {},
                              mask = {};
};

struct TokenizerParts {
  Family family = Family::byte_level;
  std::string source;  // names the file in messages
  Vocabulary vocabulary;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::variant<BpeModel, UnigramModel> model;
  std::vector<std::int32_t> prefix;  // what add_special puts before
  std::vector<std::int32_t> suffix;  // and behind
  PieceDecoder decoder;
  std::unordered_map<std::int32_t, std::string>
      surfaces;  // pieces that decode to something else than their spelling says
  SpecialIds special;
  std::vector<std::int32_t> ends;  // tokens that end generation
  std::string pre_id;              // llama.cpp's name of the split rule; empty: none known
  std::string chat_template;       // Jinja; may be empty

  const BpeModel* bpe() const noexcept { return std::get_if<BpeModel>(&model); }
  bool adds_bos() const noexcept { return special.bos && !prefix.empty() && prefix.front() == *special.bos; }
  bool adds_eos() const noexcept { return special.eos && !suffix.empty() && suffix.back() == *special.eos; }
};

// Files beside tokenizer.json; empty texts are absent files.
struct SideFiles {
  std::string_view tokenizer_config, generation_config, config;
  std::string directory{};          // with a slash behind it, for messages; may be empty
  std::string_view added_tokens{};  // added_tokens.json
};

// Byte-level tokenizers without tokenizer.json; empty texts are absent files.
struct VocabularyFiles {
  std::string_view vocabulary, merges, added_tokens, special_tokens_map;
};

TokenizerParts read_vocabulary_files(const VocabularyFiles& files, const SideFiles& sides);
TokenizerParts read_tokenizer_json(std::string_view text, const SideFiles& sides, const std::string& source);
TokenizerParts read_sentencepiece(std::string_view model_proto, const SideFiles& sides, const std::string& source);
TokenizerParts read_gguf(const GgufMetadata& metadata, const std::string& source);
// The special ids and end tokens that the side files name; fills what `parts` does not know.
void apply_side_files(const SideFiles& sides, TokenizerParts& parts);
// Takes the scores of a SentencePiece model for the tokens of the same text.
void adopt_scores(const TokenizerParts& sentencepiece, TokenizerParts& parts);
// Adds the tokens whose text is known to end a turn or a text, and eos, eot, eom.
void find_end_tokens(TokenizerParts& parts);

GgufMetadata write_gguf(const TokenizerParts& parts, std::uint64_t rows);
// Which texts get other ids from what was written, a sentence each. piece: a token's bytes in running text.
using EncodeText = std::function<std::vector<std::int32_t>(std::string_view)>;
std::vector<std::string> find_gguf_losses(const TokenizerParts& parts,
                                          const std::function<std::string(std::int32_t)>& piece,
                                          const EncodeText& source, const EncodeText& written);
std::string write_tokenizer_json(const TokenizerParts& parts);
std::string write_tokenizer_config_json(const TokenizerParts& parts);

}  // namespace nibble::tokenizing
