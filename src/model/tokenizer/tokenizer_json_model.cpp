// SPDX-License-Identifier: Apache-2.0
//
// The model and the added tokens of tokenizer.json.
#include <fmt/format.h>

#include "io/message_text.h"
#include "model/tokenizer/tokenizer_json.h"

namespace nibble::tokenizing {
namespace {

// Ids may have holes; a hole is a token without text.
class TokenList {
 public:
  void put(const JsonView& view, std::string_view text, std::int64_t id) {
    if (id < 0 || static_cast<std::uint64_t>(id) >= Vocabulary::kMaxTokens)
      view.corrupt(
          fmt::format("token {} has an id outside 0..{}: {}", quote_name(text), Vocabulary::kMaxTokens - 1, id));
    const auto index = static_cast<std::size_t>(id);
    if (index >= tokens_.size()) tokens_.resize(index + 1);
    if (!tokens_[index].text.empty())
      view.corrupt(
          fmt::format("tokens {} and {} have the same id: {}", quote_name(tokens_[index].text), quote_name(text), id));
    tokens_[index].text = text;
  }
  bool has(std::int64_t id) const {
    return id >= 0 && static_cast<std::uint64_t>(id) < tokens_.size() &&
           !tokens_[static_cast<std::size_t>(id)].text.empty();
  }
  std::vector<Token>& tokens() { return tokens_; }

 private:
  std::vector<Token> tokens_;
};

void read_bpe_vocabulary(const JsonView& vocab, TokenList& list) {
  for (const auto [text, element] : vocab.object()) {
    std::int64_t id = 0;
    if (element.get_int64().get(id) != simdjson::SUCCESS)
      vocab.corrupt(fmt::format("token {} has no integer id", quote_name(text)));
    if (text.empty()) vocab.corrupt(fmt::format("the token with id {} is empty", id));
    list.put(vocab, text, id);
  }
}

void read_unigram_vocabulary(const JsonView& vocab, TokenList& list) {
  std::int64_t id = 0;
  for (const simdjson::dom::element element : vocab.array()) {
    std::string_view text;
    double score = 0;
    if (element.at(0).get_string().get(text) != simdjson::SUCCESS ||
        element.at(1).get_double().get(score) != simdjson::SUCCESS)
      vocab.corrupt(fmt::format("piece {} is not a pair of text and score", id));
    list.put(vocab, text, id);
    list.tokens()[static_cast<std::size_t>(id)].score = static_cast<float>(score);
    ++id;
  }
}

// Tokens that the model does not have are appended to the list; `added` gets all of them.
void read_added_tokens(const JsonView& root, const Normalizer& normalizer, TokenList& list,
                       std::vector<AddedToken>& added) {
  const auto view = root.find("added_tokens");
  if (!view) return;
  const std::vector<JsonView> items = view->elements();
  std::unordered_map<std::string_view, std::int64_t>
      model_ids;  // of the contents that the model has; -1: not found yet
  for (const JsonView& item : items) model_ids.emplace(item.at("content").string(), -1);
  for (std::size_t id = 0; id < list.tokens().size(); ++id)
    if (const auto known = model_ids.find(list.tokens()[id].text); known != model_ids.end())
      known->second = static_cast<std::int64_t>(id);
  for (const JsonView& item : items) {
    AddedToken token;
    token.content = item.at("content").string();
    if (token.content.empty()) item.corrupt("an added token is empty");
    // As the reference reads them: a text that the vocabulary has keeps its id there, and an id that is taken gives way
    // to the next free one.
    std::int64_t id = item.at("id").integer();
    std::int64_t& known = model_ids.at(token.content);
    if (known >= 0) id = known;
    if (known < 0 && list.has(id)) id = static_cast<std::int64_t>(list.tokens().size());
    if (known < 0) list.put(item, token.content, id);
    known = id;
    token.id = static_cast<std::int32_t>(id);
    token.special = item.boolean_or("special", false);
    token.normalized = item.boolean_or("normalized", !token.special);
    token.lstrip = item.boolean_or("lstrip", false);
    token.rstrip = item.boolean_or("rstrip", false);
    token.single_word = item.boolean_or("single_word", false);
    if (token.normalized) token.matched = normalize(normalizer, token.content);
    Token& entry = list.tokens()[static_cast<std::size_t>(id)];
    entry.kind = token.special ? TokenKind::control : TokenKind::user_defined;
    entry.special = token.special;
    added.push_back(std::move(token));
  }
}

// One merge: "left right", or ["left", "right"].
std::pair<std::string_view, std::string_view> read_merge(const JsonView& merges, simdjson::dom::element element,
                                                         std::size_t index) {
  std::string_view text;
  if (element.get_string().get(text) == simdjson::SUCCESS) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == text.size() ||
        text.find(' ', space + 1) != std::string_view::npos)
      merges.corrupt(
          fmt::format("merge {} is not two pieces with one space between them: {}", index, quote_name(text)));
    return {text.substr(0, space), text.substr(space + 1)};
  }
  std::string_view left;
  std::string_view right;
  simdjson::dom::array pair;
  if (element.get_array().get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
      pair.at(0).get_string().get(left) != simdjson::SUCCESS || pair.at(1).get_string().get(right) != simdjson::SUCCESS)
    merges.corrupt(fmt::format("merge {} is neither a text nor a pair of texts", index));
  return {left, right};
}

MergeTable read_merges(const JsonView& merges, const BpeSettings& settings, const Vocabulary& vocabulary) {
  const simdjson::dom::array list = merges.array();
  MergeTable table(list.size());
  std::uint32_t rank = 0;
  std::size_t index = 0;
  std::string merged;
  for (const simdjson::dom::element element : list) {
    std::string_view line;
    if (index == 0 && element.get_string().get(line) == simdjson::SUCCESS && line.starts_with("#version")) {
      ++index;
      continue;
    }
    const auto [left, right] = read_merge(merges, element, index);
    merged = left;
    merged += right.starts_with(settings.continuing_prefix) ? right.substr(settings.continuing_prefix.size()) : right;
    const auto left_id = vocabulary.find(left);
    const auto right_id = vocabulary.find(right);
    const auto merged_id = vocabulary.find(merged);
    if (!left_id || !right_id || !merged_id)
      merges.corrupt(fmt::format("merge {} needs a token that the vocabulary does not have: {}", index,
                                 quote_name(!left_id    ? left
                                            : !right_id ? right
                                                        : std::string_view(merged))));
    table.insert(static_cast<Symbol>(*left_id), static_cast<Symbol>(*right_id),
                 {rank++, static_cast<Symbol>(*merged_id)});
    ++index;
  }
  return table;
}

BpeSettings read_bpe_settings(const JsonView& model) {
  if (const auto dropout = model.find("dropout"); dropout && dropout->number() > 0)
    dropout->unsupported("a tokenizer with dropout gives other tokens at every call; set it to null");
  BpeSettings settings;
  settings.byte_fallback = model.boolean_or("byte_fallback", false);
  settings.fuse_unknown = model.boolean_or("fuse_unk", false);
  settings.ignore_merges = model.boolean_or("ignore_merges", false);
  settings.continuing_prefix = model.string_or("continuing_subword_prefix", "");
  settings.end_suffix = model.string_or("end_of_word_suffix", "");
  return settings;
}

std::string model_type(const JsonView& model) {
  if (const auto type = model.find("type")) return std::string(type->string());
  // Files from before models were tagged.
  return model.find("merges") ? "BPE" : "Unigram";
}

void mark_kinds(const JsonView& model, bool byte_fallback, const std::optional<std::string>& unknown,
                std::vector<Token>& tokens) {
  for (Token& token : tokens) {
    if (token.text.empty()) token.kind = TokenKind::unused;
    if (byte_fallback && token.kind == TokenKind::normal && parse_byte_token(token.text)) token.kind = TokenKind::byte;
    if (unknown && token.text == *unknown) token.kind = TokenKind::unknown;
  }
  if (tokens.empty()) model.corrupt("the vocabulary is empty");
}

}  // namespace

void read_model(const JsonView& root, TokenizerParts& parts) {
  const JsonView model = root.at("model");
  const std::string type = model_type(model);
  TokenList list;
  std::optional<std::string> unknown;
  if (type == "BPE") {
    read_bpe_vocabulary(model.at("vocab"), list);
    if (const auto text = model.find("unk_token")) unknown = std::string(text->string());
  } else if (type == "Unigram") {
    read_unigram_vocabulary(model.at("vocab"), list);
    const auto id = model.find("unk_id");
    if (id && !list.has(id->integer())) model.corrupt(fmt::format("unk_id is not a piece: {}", id->integer()));
    if (id) unknown = list.tokens()[static_cast<std::size_t>(id->integer())].text;
  } else {
    model.unsupported(fmt::format("model type '{}' is not supported; BPE and Unigram are", type));
  }
  std::vector<AddedToken> added;
  read_added_tokens(root, parts.normalizer, list, added);
  const bool byte_fallback = model.boolean_or("byte_fallback", false);
  mark_kinds(model, byte_fallback, unknown, list.tokens());
  parts.added = AddedTokens(std::move(added));
  parts.vocabulary = Vocabulary(std::move(list.tokens()));
  // A text that is no token is never needed where every byte is one; elsewhere unknown characters vanish.
  if (unknown) parts.special.unknown = parts.vocabulary.find(*unknown);
  if (type == "Unigram") {
    parts.vocabulary.has_scores = true;
    parts.model =
        UnigramModel(parts.vocabulary, {.unknown = parts.special.unknown.value_or(-1), .byte_fallback = byte_fallback});
    return;
  }
  BpeSettings settings = read_bpe_settings(model);
  settings.unknown = parts.special.unknown;
  MergeTable merges = read_merges(model.at("merges"), settings, parts.vocabulary);
  parts.model = BpeModel(std::move(merges), std::move(settings), parts.vocabulary);
}

}  // namespace nibble::tokenizing
