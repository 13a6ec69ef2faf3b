// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "io/checkpoint_parts.h"
#include "model/tokenizer/parts.h"
#include "model/tokenizer/tokenizer_files.h"
#include "nibble/error.h"

namespace nibble {

using namespace tokenizing;

struct Tokenizer::State {
  TokenizerParts parts;
};

namespace {

// A word's symbols are counted in 32 bits.
constexpr std::size_t kMaxText = std::size_t{1} << 30;

class Encoding {
 public:
  Encoding(const TokenizerParts& parts, const EncodeOptions& options) : parts_(parts), options_(options) {}

  void add_text(std::string_view text) {
    for (const Section& section : parts_.added.cut(text, AddedTokens::Stage::raw, options_.parse_special)) {
      if (section.id >= 0) {
        ids.push_back(section.id);
      } else {
        add_section(section.text, section.text.data() == text.data());
      }
    }
  }

  std::vector<std::int32_t> ids;

 private:
  void add_section(std::string_view text, bool at_start) {
    std::string normal = normalize(parts_.normalizer, std::string(text));
    if (parts_.added.empty(AddedTokens::Stage::normalized))
      return add_words(CutText::whole(std::move(normal), at_start));
    for (const Section& section : parts_.added.cut(normal, AddedTokens::Stage::normalized, options_.parse_special)) {
      if (section.id >= 0) {
        ids.push_back(section.id);
      } else {
        add_words(CutText::whole(std::string(section.text), at_start && section.text.data() == normal.data()));
      }
    }
  }

  void add_words(CutText cut) {
    pre_tokenize(parts_.pre_tokenizer, cut);
    for (std::size_t i = 0; i < cut.pieces.size(); ++i) {
      if (const BpeModel* bpe = parts_.bpe()) {
        bpe->encode(cut[i], parts_.vocabulary, cache_, ids);
      } else {
        std::get<UnigramModel>(parts_.model).encode(cut[i], parts_.vocabulary, ids);
      }
    }
  }

  const TokenizerParts& parts_;
  EncodeOptions options_;
  WordCache cache_;
};

void check_id(const TokenizerParts& parts, std::int32_t id) {
  if (!parts.vocabulary.contains(id))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}: there is no token with this id, the vocabulary has {}: {}", parts.source,
                            parts.vocabulary.size(), id));
}

void append_token(const TokenizerParts& parts, std::int32_t id, bool begins_text, std::string& out) {
  const Token& token = parts.vocabulary[id];
  if (const auto surface = parts.surfaces.find(id); surface != parts.surfaces.end()) {
    out += surface->second;
  } else if (token.kind == TokenKind::control || token.kind == TokenKind::unknown ||
             (token.kind == TokenKind::user_defined && parts.family == Family::byte_level)) {
    out += token.text;
  } else {
    begins_text ? parts.decoder.append_first_piece(token.text, out) : parts.decoder.append_piece(token.text, out);
  }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_checkpoint(const Checkpoint& checkpoint) {
  if (checkpoint.kind() == ContainerKind::gguf) return from_gguf(checkpoint.gguf(), checkpoint.path().string());
  const TokenizerFiles files{checkpoint.path(),
                             [&checkpoint](const std::string& name) { return checkpoint.read_side_file(name); }};
  return Tokenizer(std::make_unique<const State>(State{read_directory(files)}));
}

Tokenizer Tokenizer::from_directory(const std::filesystem::path& directory) {
  const TokenizerFiles files{directory, [&](const std::string& name) { return read_side_file(directory, name); }};
  return Tokenizer(std::make_unique<const State>(State{read_directory(files)}));
}

bool Tokenizer::available(const Checkpoint& checkpoint) {
  if (checkpoint.kind() == ContainerKind::gguf)
    return checkpoint.gguf().string("tokenizer.ggml.model").value_or("none") != "none";
  return checkpoint.kind() == ContainerKind::huggingface && available(checkpoint.path());
}

bool Tokenizer::available(const std::filesystem::path& directory) {
  return std::ranges::any_of(named_files(), [&directory](const NamedFile& file) {
    return file.role != FileRole::settings && is_there(directory / file.name);
  });
}

std::vector<std::string> Tokenizer::file_names() {
  std::vector<std::string> names;
  for (const NamedFile& file : named_files()) names.emplace_back(file.name);
  return names;
}

Tokenizer Tokenizer::from_json(std::string_view tokenizer_json, std::string_view config_json,
                               const std::string& source) {
  const SideFiles sides{.tokenizer_config = config_json, .generation_config = {}, .config = {}};
  return Tokenizer(std::make_unique<const State>(State{read_vocabulary(tokenizer_json, true, sides, source)}));
}

Tokenizer Tokenizer::from_sentencepiece(std::string_view model_proto, const std::string& source) {
  return Tokenizer(std::make_unique<const State>(State{read_vocabulary(model_proto, false, {}, source)}));
}

Tokenizer Tokenizer::from_gguf(const GgufMetadata& metadata, const std::string& source) {
  return Tokenizer(std::make_unique<const State>(State{read_gguf(metadata, source)}));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > kMaxText)
    throw Error(ErrorKind::unusable_input,
                fmt::format("text to encode is larger than 1 GiB, cut it into parts: {} bytes", text.size()));
  const TokenizerParts& parts = state_->parts;
  Encoding encoding(parts, options);
  if (options.add_special) encoding.ids = parts.prefix;
  if (find_invalid_utf8(text) == std::string::npos) {
    encoding.add_text(text);
  } else {
    encoding.add_text(replace_invalid_utf8(text));
  }
  if (options.add_special) encoding.ids.insert(encoding.ids.end(), parts.suffix.begin(), parts.suffix.end());
  return std::move(encoding.ids);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  const TokenizerParts& parts = state_->parts;
  const PieceDecoder& decoder = parts.decoder;
  std::string text;
  bool first = true;
  bool spelt = true;  // the first piece comes from its spelling, where a space stands for the begin of a word
  for (const std::int32_t id : ids) {
    check_id(parts, id);
    if (skip_special && is_special(id)) continue;
    if (!first) text += decoder.separator;
    const bool leads = text.empty();
    append_token(parts, id, first, text);
    if (first) spelt = !parts.surfaces.contains(id);
    if (leads && decoder.strip_each_leading_piece && !parts.surfaces.contains(id) && text.starts_with(decoder.strip))
      text.erase(0, decoder.strip.size());
    first = false;
  }
  if (spelt) decoder.strip_begin(text);
  decoder.strip_end(text);
  return text;
}

std::string Tokenizer::piece(std::int32_t id) const {
  check_id(state_->parts, id);
  std::string text;
  append_token(state_->parts, id, false, text);
  return text;
}

bool Tokenizer::is_special(std::int32_t id) const {
  check_id(state_->parts, id);
  return state_->parts.vocabulary[id].special;
}

std::size_t Tokenizer::count_special(std::string_view text) const {
  const TokenizerParts& parts = state_->parts;
  using Stage = AddedTokens::Stage;
  std::size_t count = 0;
  const auto count_in = [&](std::string_view section, Stage stage, const auto& between) {
    for (const Section& part : parts.added.cut(section, stage, true)) {
      if (part.id < 0)
        between(part.text);
      else
        count += is_special(part.id) ? 1 : 0;
    }
  };
  const std::string repaired =
      find_invalid_utf8(text) == std::string_view::npos ? std::string() : replace_invalid_utf8(text);
  count_in(repaired.empty() ? text : repaired, Stage::raw, [&](std::string_view between) {
    if (parts.added.empty(Stage::normalized)) return;
    count_in(normalize(parts.normalizer, std::string(between)), Stage::normalized, [](std::string_view) {});
  });
  return count;
}

std::size_t Tokenizer::vocab_size() const noexcept { return state_->parts.vocabulary.size(); }

const std::string& Tokenizer::token_text(std::int32_t id) const {
  check_id(state_->parts, id);
  return state_->parts.vocabulary[id].text;
}

std::optional<std::int32_t> Tokenizer::find_token(std::string_view text) const {
  return state_->parts.vocabulary.find(text);
}
std::optional<std::int32_t> Tokenizer::bos() const noexcept { return state_->parts.special.bos; }
std::optional<std::int32_t> Tokenizer::eos() const noexcept { return state_->parts.special.eos; }
bool Tokenizer::adds_bos() const noexcept { return state_->parts.adds_bos(); }

bool Tokenizer::is_end(std::int32_t id) const noexcept {
  const std::vector<std::int32_t>& ends = state_->parts.ends;
  return std::find(ends.begin(), ends.end(), id) != ends.end();
}

std::string Tokenizer::kind() const {
  const TokenizerParts& parts = state_->parts;
  switch (parts.family) {
    case Family::byte_level:
      return parts.pre_id.empty() ? "byte-level BPE" : fmt::format("byte-level BPE ({})", parts.pre_id);
    case Family::sentencepiece:
      return "SentencePiece BPE";
    case Family::unigram:
      return "SentencePiece Unigram";
  }
  return {};
}

const std::string& Tokenizer::chat_template() const noexcept { return state_->parts.chat_template; }

GgufMetadata Tokenizer::to_gguf(std::uint64_t rows) const { return write_gguf(state_->parts, rows); }

std::vector<std::string> Tokenizer::lost_in_gguf(const GgufMetadata& written) const {
  static constexpr EncodeOptions kOptions{.add_special = true, .parse_special = true};
  const Tokenizer other = from_gguf(written, state_->parts.source);
  return find_gguf_losses(
      state_->parts, [this](std::int32_t id) { return piece(id); },
      [this](std::string_view text) { return encode(text, kOptions); },
      [&other](std::string_view text) { return other.encode(text, kOptions); });
}

Tokenizer::HfFiles Tokenizer::to_huggingface() const {
  return {write_tokenizer_json(state_->parts), write_tokenizer_config_json(state_->parts)};
}

}  // namespace nibble
