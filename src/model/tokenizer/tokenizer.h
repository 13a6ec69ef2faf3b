// SPDX-License-Identifier: Apache-2.0
//
// Text to token ids and back, by the rules that the model was trained with: byte-level BPE with a split regex (GPT-2,
// Llama 3, Qwen) and SentencePiece-style BPE with byte fallback (Llama 2, Phi-3). Immutable after construction, safe
// from many threads.
//
//   Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
//   std::vector<std::int32_t> ids = tokenizer.encode("Once upon a time", {.add_special = true});
//   std::string text = tokenizer.decode(ids);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"
#include "io/gguf/gguf_value.h"
#include "nibble/model.h"

namespace nibble {

class Tokenizer {
 public:
  // Whatever the checkpoint offers: tokenizer.json (with tokenizer_config.json, generation_config.json and config.json
  // beside it), else tokenizer.model, else vocab.json with merges.txt, or GGUF metadata. Errors: not_found (nothing
  // there, or tokenizer.ggml.model = none), corrupt, unsupported (tokenizers in other files).
  static Tokenizer from_checkpoint(const Checkpoint& checkpoint);
  // Of a directory with or without weights, as from_checkpoint of one with them.
  static Tokenizer from_directory(const std::filesystem::path& directory);
  // True when the checkpoint has something that from_checkpoint would try, by the names of its files or a key: nothing
  // is read.
  static bool available(const Checkpoint& checkpoint);
  static bool available(const std::filesystem::path& directory);
  // The files of a directory that make up tokenizers, those of kinds that are not read here too.
  static std::vector<std::string> file_names();

  // From the texts themselves. `source` names the file in messages. config: tokenizer_config.json, may be empty.
  static Tokenizer from_json(std::string_view tokenizer_json, std::string_view config_json, const std::string& source);
  static Tokenizer from_sentencepiece(std::string_view model_proto, const std::string& source);
  static Tokenizer from_gguf(const GgufMetadata& metadata, const std::string& source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Invalid UTF-8 in the text is replaced as the Unicode standard's best practice says (U+FFFD per maximal subpart).
  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // skip_special leaves control tokens out. Bytes that are not UTF-8 yet come out as they are.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;
  // Error(invalid_argument) for an id that is no token, here and below.
  // One token's bytes as they would be appended to running text (streaming): no prefix space is stripped.
  std::string piece(std::int32_t id) const;

  // A control token by the vocabulary or the added tokens: what decode(skip_special) leaves out.
  bool is_special(std::int32_t id) const;
  // How many control tokens the text spells out, which encode() with parse_special takes for these tokens. The text
  // between them is not encoded.
  std::size_t count_special(std::string_view text) const;

  std::size_t vocab_size() const noexcept;  // number of tokens named, may be less than the embedding's rows
  const std::string& token_text(std::int32_t id) const;  // as the vocabulary spells it
  std::optional<std::int32_t> find_token(std::string_view text) const;
  std::optional<std::int32_t> bos() const noexcept;
  std::optional<std::int32_t> eos() const noexcept;
  bool adds_bos() const noexcept;
  bool is_end(std::int32_t id) const noexcept;        // any token that ends generation
  std::string kind() const;                           // "byte-level BPE (llama-bpe)", "SentencePiece BPE"
  const std::string& chat_template() const noexcept;  // Jinja text of the checkpoint; empty when it has none

  // The tokenizer.* keys of a GGUF file for llama.cpp. rows: embedding rows; missing ids become unique [PADn] UNUSED
  // tokens. Error(unsupported) when no llama.cpp pre-tokenizer id has this split rule.
  GgufMetadata to_gguf(std::uint64_t rows) const;
  // Which texts get other ids from a GGUF file with these keys, a sentence each; empty: none that was tried. What is
  // tried is made from this tokenizer: its added tokens between letters and blanks, its own tokens, decomposed
  // characters, digits, white space, other scripts.
  std::vector<std::string> lost_in_gguf(const GgufMetadata& written) const;
  // tokenizer.json and tokenizer_config.json for a Hugging Face directory (needed when a GGUF becomes a directory).
  struct HfFiles {
    std::string tokenizer_json, tokenizer_config_json;
  };
  HfFiles to_huggingface() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace nibble
