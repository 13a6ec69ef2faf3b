// SPDX-License-Identifier: Apache-2.0
//
// Reader of SentencePiece .model files: the protocol buffer ModelProto of sentencepiece_model.proto, of which a dozen
// fields matter here.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/utf8.h"
#include "io/message_text.h"
#include "model/tokenizer/parts.h"
#include "model/tokenizer/side_tokens.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

// One field of a message in protocol buffers' wire format.
struct Field {
  std::uint32_t number = 0;
  std::uint64_t integer = 0;  // varint and fixed fields
  std::string_view bytes;     // length-delimited fields
  bool is_bytes = false;
  float as_float() const noexcept { return std::bit_cast<float>(static_cast<std::uint32_t>(integer)); }
};

class WireReader {
 public:
  WireReader(std::string_view message, std::size_t offset, const std::string& source)
      : message_(message), base_(offset), source_(source) {}

  bool next(Field& field) {
    if (at_ == message_.size()) return false;
    const std::uint64_t key = varint();
    field = {};
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF) corrupt("a field has no valid number");
    field.number = static_cast<std::uint32_t>(key >> 3);
    switch (key & 7) {
      case 0:
        field.integer = varint();
        break;
      case 1:
        std::memcpy(&field.integer, take(8).data(), 8);
        break;
      case 2:
        field.is_bytes = true;
        field.bytes = take(varint());
        break;
      case 5:
        std::memcpy(&field.integer, take(4).data(), 4);
        break;
      default:
        corrupt("a field has a wire type that does not exist");
    }
    return true;
  }

  std::size_t offset() const noexcept { return base_ + at_; }
  [[noreturn]] void corrupt(std::string_view what) const {
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: not a SentencePiece model: {} at offset {}", source_, what, offset()));
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == message_.size()) corrupt("the file ends inside a number");
      const auto byte = static_cast<std::uint8_t>(message_[at_++]);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    corrupt("a number is too long");
  }

  std::string_view take(std::uint64_t count) {
    if (count > message_.size() - at_)
      corrupt(fmt::format("a field of {} bytes has only {} left", count, message_.size() - at_));
    const std::string_view bytes = message_.substr(at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return bytes;
  }

  std::string_view message_;
  std::size_t base_ = 0;
  std::size_t at_ = 0;
  const std::string& source_;
};

// What the model says, with the defaults of sentencepiece_model.proto.
struct Model {
  enum Type { unigram = 1, bpe = 2 };
  std::vector<Token> pieces;
  std::uint64_t type = unigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::int64_t unknown = 0, bos = 1, eos = 2, padding = -1;
  std::string unknown_surface = " \xE2\x81\x87 ";
  std::string chars_map;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

Token read_piece(const Field& message, std::size_t offset, const std::string& source) {
  Token token;
  WireReader reader(message.bytes, offset, source);
  for (Field field; reader.next(field);) {
    if (field.number == 1) token.text = field.bytes;
    if (field.number == 2) token.score = field.as_float();
    if (field.number == 3) {
      if (field.integer < 1 || field.integer > 6)
        reader.corrupt(fmt::format("a piece has an unknown type: {}", field.integer));
      token.kind = static_cast<TokenKind>(field.integer);
    }
  }
  if (token.text.empty() || find_invalid_utf8(token.text) != std::string::npos)
    reader.corrupt("a piece is empty or not UTF-8");
  token.special = token.kind == TokenKind::control;
  return token;
}

void read_trainer_spec(const Field& message, std::size_t offset, const std::string& source, Model& model) {
  WireReader reader(message.bytes, offset, source);
  for (Field field; reader.next(field);) {
    switch (field.number) {
      case 3:
        model.type = field.integer;
        break;
      case 24:
        model.whitespace_as_suffix = field.integer != 0;
        break;
      case 35:
        model.byte_fallback = field.integer != 0;
        break;
      case 40:
        model.unknown = static_cast<std::int64_t>(field.integer);
        break;
      case 41:
        model.bos = static_cast<std::int64_t>(field.integer);
        break;
      case 42:
        model.eos = static_cast<std::int64_t>(field.integer);
        break;
      case 43:
        model.padding = static_cast<std::int64_t>(field.integer);
        break;
      case 44:
        model.unknown_surface = field.bytes;
        break;
      default:
        break;
    }
  }
}

void read_normalizer_spec(const Field& message, std::size_t offset, const std::string& source, Model& model) {
  WireReader reader(message.bytes, offset, source);
  for (Field field; reader.next(field);) {
    switch (field.number) {
      case 2:
        model.chars_map = field.bytes;
        break;
      case 3:
        model.add_dummy_prefix = field.integer != 0;
        break;
      case 4:
        model.remove_extra_whitespaces = field.integer != 0;
        break;
      case 5:
        model.escape_whitespaces = field.integer != 0;
        break;
      default:
        break;
    }
  }
}

Model read_proto(std::string_view proto, const std::string& source) {
  Model model;
  WireReader reader(proto, 0, source);
  for (Field field; reader.next(field);) {
    if (!field.is_bytes) continue;
    const std::size_t offset = reader.offset() - field.bytes.size();
    if (field.number == 1) model.pieces.push_back(read_piece(field, offset, source));
    if (field.number == 2) read_trainer_spec(field, offset, source, model);
    if (field.number == 3) read_normalizer_spec(field, offset, source, model);
    if (model.pieces.size() > Vocabulary::kMaxTokens)
      reader.corrupt(fmt::format("it has more pieces than {}", Vocabulary::kMaxTokens));
  }
  if (model.pieces.empty()) reader.corrupt("it has no pieces");
  return model;
}

std::optional<std::int32_t> piece_id(std::int64_t id, const Vocabulary& vocabulary) {
  if (!vocabulary.contains(id)) return std::nullopt;
  return static_cast<std::int32_t>(id);
}

// Tokens that a class of tokenizers puts behind its model's pieces.
void add_class_tokens(const std::string& tokenizer_class, std::size_t num_pieces, std::vector<AddedToken>& added) {
  if (tokenizer_class != "ChatGLMTokenizer") return;
  constexpr std::string_view kTexts[] = {"[MASK]",   "[gMASK]",       "[sMASK]",        "sop", "eop", "<|system|>",
                                         "<|user|>", "<|assistant|>", "<|observation|>"};
  for (std::size_t i = 0; i < std::size(kTexts); ++i) {
    AddedToken token;
    token.id = static_cast<std::int32_t>(num_pieces + i);
    token.content = kTexts[i];
    token.special = true;
    const bool is_named =
        std::ranges::any_of(added, [&](const AddedToken& a) { return a.id == token.id || a.content == token.content; });
    if (!is_named) added.push_back(std::move(token));
  }
}

// Besides those that the files beside the model name: user-defined pieces are looked for after normalisation, as they
// are spelt; control pieces never come out of text unless asked for.
void add_pieces(const Model& model, const Vocabulary& vocabulary, std::vector<AddedToken>& added) {
  std::vector<bool> is_named(vocabulary.size());
  for (const AddedToken& token : added) is_named[static_cast<std::size_t>(token.id)] = true;
  for (std::size_t id = 0; id < vocabulary.size(); ++id) {
    const Token& token = vocabulary[id];
    const bool user_defined = token.kind == TokenKind::user_defined && model.type == Model::bpe;
    if (is_named[id] || (token.kind != TokenKind::control && !user_defined)) continue;
    AddedToken entry;
    entry.id = static_cast<std::int32_t>(id);
    entry.content = token.text;
    entry.special = !user_defined;
    entry.normalized = user_defined;
    added.push_back(std::move(entry));
  }
}

}  // namespace

TokenizerParts read_sentencepiece(std::string_view model_proto, const SideFiles& sides, const std::string& source) {
  Model model = read_proto(model_proto, source);
  if (model.type != Model::unigram && model.type != Model::bpe)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: SentencePiece models of type {} are not supported; 1 (Unigram) and 2 (BPE) are",
                            source, model.type));
  if (model.whitespace_as_suffix)
    throw Error(ErrorKind::unsupported, fmt::format("{}: treat_whitespace_as_suffix is not supported", source));
  std::vector<AddedToken> added = read_side_tokens(sides);
  add_class_tokens(class_of(sides), model.pieces.size(), added);
  put_side_tokens(added, model.pieces, source);
  TokenizerParts parts;
  parts.source = source;
  parts.vocabulary = Vocabulary(std::move(model.pieces));
  parts.vocabulary.has_scores = true;
  const Vocabulary& vocabulary = parts.vocabulary;
  for (std::size_t id = 0; id < vocabulary.size(); ++id)
    if (!vocabulary[id].text.empty() && vocabulary.find(vocabulary[id].text) != static_cast<std::int32_t>(id))
      throw Error(ErrorKind::corrupt, fmt::format("{}: piece {} appears twice, the second time as id {}", source,
                                                  quote_name(vocabulary[id].text), id));
  parts.special = {.bos = piece_id(model.bos, vocabulary),
                   .eos = piece_id(model.eos, vocabulary),
                   .padding = piece_id(model.padding, vocabulary)};
  parts.special.unknown = piece_id(model.unknown, vocabulary);
  if (!parts.special.unknown)
    throw Error(ErrorKind::corrupt, fmt::format("{}: unk_id is not a piece: {}", source, model.unknown));
  add_pieces(model, vocabulary, added);
  parts.added = AddedTokens(std::move(added));
  if (!model.chars_map.empty())
    parts.normalizer.emplace_back(
        ApplyCharsMap{std::make_shared<const CharsMap>(model.chars_map, source + ": precompiled_charsmap")});
  parts.normalizer.emplace_back(
      SentencePieceSpaces{model.remove_extra_whitespaces, model.add_dummy_prefix, model.escape_whitespaces});
  if (model.type == Model::bpe) {
    parts.family = Family::sentencepiece;
    parts.model = BpeModel::from_scores(vocabulary,
                                        {.byte_fallback = model.byte_fallback,
                                         .fuse_unknown = true,
                                         .reads_unused = true,
                                         .unknown = parts.special.unknown,
                                         .continuing_prefix = {},
                                         .end_suffix = {}},
                                        false);
  } else {
    parts.family = Family::unigram;
    parts.model = UnigramModel(vocabulary, {*parts.special.unknown, model.byte_fallback, true});
  }
  parts.decoder.steps = {Replace{Pattern::literal(std::string(kVisibleSpace)), " "}, FromByteToken{}};
  parts.decoder.strip_each_leading_piece = model.remove_extra_whitespaces;
  parts.decoder.strip_left = model.add_dummy_prefix && !model.remove_extra_whitespaces ? 1 : 0;
  parts.surfaces.emplace(*parts.special.unknown, model.unknown_surface);
  if (parts.special.bos) parts.prefix = {*parts.special.bos};
  find_end_tokens(parts);
  return parts;
}

void adopt_scores(const TokenizerParts& sentencepiece, TokenizerParts& parts) {
  for (std::size_t id = 0; id < parts.vocabulary.size(); ++id) {
    const Token& token = parts.vocabulary[id];
    const auto same = sentencepiece.vocabulary.find(token.text);
    if (!same) continue;
    if (*same != static_cast<std::int32_t>(id) && token.kind == TokenKind::normal &&
        parts.vocabulary.find(token.text) == static_cast<std::int32_t>(id))
      throw Error(
          ErrorKind::corrupt,
          fmt::format("{}: model.vocab.{}: another id than in {}, where it is {}; take one of the two files away: {}",
                      parts.source, quote_name(token.text), sentencepiece.source, *same, id));
    parts.vocabulary.set_score(id, sentencepiece.vocabulary[*same].score);
  }
  parts.vocabulary.has_scores = true;
}

}  // namespace nibble::tokenizing
