// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/token_pieces.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "io/checkpoint_parts.h"
#include "io/foreign_file.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxVocabulary = 512u << 20;

bool begins_character(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

// What a piece stands for at this place of the text; nothing: something else stands there. SentencePiece puts a blank
// before a word that has none.
std::optional<std::size_t> length_at(std::string_view text, std::string_view piece) {
  if (text.starts_with(piece)) return piece.size();
  if (piece.starts_with(' ') && text.starts_with(piece.substr(1))) return piece.size() - 1;
  return std::nullopt;
}

TextRange characters_of(std::string_view text, const TextRange& bytes, std::size_t begun_before) {
  const std::string_view part = text.substr(bytes.begin, bytes.end - bytes.begin);
  const bool goes_on = !part.empty() && !begins_character(part.front());
  const auto begun = static_cast<std::size_t>(std::ranges::count_if(part, begins_character));
  return {begun_before - (goes_on ? 1 : 0), begun_before + begun};
}

// Where each piece lies, from the front up to the first and from the back down to the last that the text does not have
// as it is spelled.
void find_ranges(std::string_view text, std::vector<TokenPiece>& pieces) {
  std::string joined;
  for (const TokenPiece& piece : pieces) joined += piece.text;
  // Whatever the text begins with, the first blank is the one that was put there.
  bool has_own_blank = joined.size() == text.size() + 1 && joined.front() == ' ' && joined.ends_with(text);
  std::size_t at = 0, first = 0;
  for (; first < pieces.size(); ++first) {
    TokenPiece& piece = pieces[first];
    if (piece.text.empty()) continue;
    const std::optional<std::size_t> length =
        has_own_blank ? piece.text.size() - 1 : length_at(text.substr(at), piece.text);
    has_own_blank = false;
    if (!length) break;
    piece.bytes = TextRange{at, at + *length};
    at += *length;
  }
  std::size_t end = text.size();
  for (std::size_t last = pieces.size(); last-- > first;) {
    TokenPiece& piece = pieces[last];
    if (piece.text.empty()) continue;
    if (end < at + piece.text.size() || !text.substr(0, end).ends_with(piece.text)) break;
    piece.bytes = TextRange{end - piece.text.size(), end};
    end -= piece.text.size();
  }
  std::size_t counted = 0, begun = 0;  // characters that begin before `counted`
  for (TokenPiece& piece : pieces) {
    if (!piece.bytes) continue;
    const auto between = text.substr(counted, piece.bytes->begin - counted);
    begun += static_cast<std::size_t>(std::ranges::count_if(between, begins_character));
    piece.characters = characters_of(text, *piece.bytes, begun);
    begun = piece.characters->end;
    counted = piece.bytes->end;
  }
}

// A directory that has no tokenizer itself: a folder of a hub's cache, or none.
Tokenizer open_in_checkpoint(const std::filesystem::path& path) {
  try {
    return Tokenizer::from_checkpoint(Checkpoint::open(path));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    throw Error(ErrorKind::not_found,
                fmt::format("{}: neither a model nor a tokenizer (tokenizer.json, tokenizer.model, tekken.json, "
                            "vocab.json with merges.txt) is here; give such a file if it has another name",
                            path.string()));
  }
}

}  // namespace

Tokenizer open_tokenizer(const std::filesystem::path& path) {
  std::error_code ignored;
  const std::string extension = path.extension().string();
  if (std::filesystem::is_directory(path, ignored))
    return Tokenizer::available(path) ? Tokenizer::from_directory(path) : open_in_checkpoint(path);
  if (!std::filesystem::is_regular_file(path, ignored) || extension == ".gguf")
    return Tokenizer::from_checkpoint(Checkpoint::open(path));
  const std::filesystem::path beside = path.has_parent_path() ? path.parent_path() : ".";
  if (extension == ".safetensors") return Tokenizer::from_directory(beside);
  const std::string text = read_small_file(path, kMaxVocabulary).value_or("");
  if (text.starts_with("GGUF")) return Tokenizer::from_checkpoint(Checkpoint::open(path));
  if (const auto foreign = describe_foreign_text(text))
    throw Error(ErrorKind::corrupt, fmt::format("{}: this is {}", path.string(), *foreign));
  if (extension == ".json") {
    const auto config = read_small_file(beside / "tokenizer_config.json", kMaxVocabulary);
    return Tokenizer::from_json(text, config.value_or(""), path.string());
  }
  try {
    return Tokenizer::from_sentencepiece(text, path.string());
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{} (a tokenizer is tokenizer.json, tekken.json, a SentencePiece model, "
                                          "tiktoken's ranks, a GGUF file, or a directory with one of them)",
                                          error.what()));
  }
}

std::vector<TokenPiece> list_pieces(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options) {
  const std::string repaired = find_invalid_utf8(text) == std::string_view::npos ? "" : replace_invalid_utf8(text);
  if (!repaired.empty()) text = repaired;
  const auto ids = tokenizer.encode(text, options);
  const auto own = tokenizer.encode(text, {.add_special = false, .parse_special = options.parse_special});
  const auto first = std::ranges::search(ids, own).begin();
  std::vector<TokenPiece> pieces;
  for (auto id = ids.begin(); id != ids.end(); ++id) {
    const bool is_around = id < first || id >= first + static_cast<std::ptrdiff_t>(own.size());
    pieces.push_back({.id = *id,
                      .spelling = tokenizer.token_text(*id),
                      .text = is_around ? std::string() : tokenizer.piece(*id),
                      .special = tokenizer.is_special(*id),
                      .bytes = {},
                      .characters = {}});
  }
  find_ranges(text, pieces);
  return pieces;
}

std::string quote_bytes(std::string_view bytes) {
  std::string out = "\"";
  while (!bytes.empty()) {
    const std::size_t bad = std::min(find_invalid_utf8(bytes), bytes.size());
    for (const char c : bytes.substr(0, bad)) {
      if (c == '\n') {
        out += "\\n";
      } else if (c == '\t') {
        out += "\\t";
      } else if (c == '\r') {
        out += "\\r";
      } else if (c == '"' || c == '\\') {
        out += {'\\', c};
      } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
        out += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
      } else {
        out.push_back(c);
      }
    }
    if (bad == bytes.size()) break;
    out += fmt::format("\\x{:02X}", static_cast<unsigned char>(bytes[bad]));
    bytes.remove_prefix(bad + 1);
  }
  return out + "\"";
}

}  // namespace nibble
