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

// Where each piece lies when all of them, one behind the other, are the text, but for a blank that SentencePiece puts
// before it.
void find_ranges(std::string_view text, std::vector<TokenPiece>& pieces) {
  std::string joined;
  for (const TokenPiece& piece : pieces) joined += piece.text;
  const std::size_t added = joined.size() == text.size() + 1 && joined.front() == ' ' ? 1 : 0;
  if (std::string_view(joined).substr(added) != text) return;
  std::size_t at = 0, character = 0;  // behind the pieces so far; `character`: whole characters
  for (TokenPiece& piece : pieces) {
    if (piece.text.empty()) continue;
    const std::size_t end = at + piece.text.size();
    const TextRange bytes{std::max(at, added) - added, end - added};
    const std::string_view part = text.substr(bytes.begin, bytes.end - bytes.begin);
    const auto begun = static_cast<std::size_t>(std::ranges::count_if(part, begins_character));
    const bool goes_on = !part.empty() && !begins_character(part.front());
    piece.bytes = bytes;
    piece.characters = TextRange{character - (goes_on ? 1 : 0), character + begun};
    character += begun;
    at = end;
  }
}

}  // namespace

Tokenizer open_tokenizer(const std::filesystem::path& path) {
  std::error_code ignored;
  const std::string extension = path.extension().string();
  const bool is_json = extension == ".json";
  if (!std::filesystem::is_regular_file(path, ignored) || extension == ".gguf" || extension == ".safetensors")
    return Tokenizer::from_checkpoint(Checkpoint::open(path));
  const std::string text = read_small_file(path, kMaxVocabulary).value_or("");
  if (text.starts_with("GGUF")) return Tokenizer::from_checkpoint(Checkpoint::open(path));
  if (const auto foreign = describe_foreign_text(text))
    throw Error(ErrorKind::corrupt, fmt::format("{}: this is {}", path.string(), *foreign));
  if (!is_json) return Tokenizer::from_sentencepiece(text, path.string());
  const auto config = read_small_file(path.parent_path() / "tokenizer_config.json", kMaxVocabulary);
  return Tokenizer::from_json(text, config.value_or(""), path.string());
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
