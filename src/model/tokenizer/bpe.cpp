// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <cstring>
#include <queue>

#include "base/utf8.h"
#include "model/tokenizer/normalizer.h"

namespace nibble::tokenizing {
namespace {

constexpr std::size_t kMaxCachedWord = 64;  // bytes
constexpr std::size_t kMaxCachedWords = 1 << 16;
constexpr std::uint32_t kNone = 0xFFFFFFFFu;

// Of a short word, eight bytes at a time.
std::uint64_t hash_of(std::string_view word) noexcept {
  std::uint64_t hash = word.size() * 0x9E3779B97F4A7C15u;
  const auto mix = [&hash](std::uint64_t bytes) {
    hash = (hash ^ bytes) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  };
  std::uint64_t bytes = 0;
  for (; word.size() > 8; word.remove_prefix(8)) {
    std::memcpy(&bytes, word.data(), 8);
    mix(bytes);
  }
  bytes = 0;
  std::memcpy(&bytes, word.data(), word.size());
  mix(bytes);
  return hash;
}

std::string_view next_character(std::string_view text, std::size_t& at) {
  const std::size_t begin = at;
  next_code_point(text, at);
  return text.substr(begin, at - begin);
}

}  // namespace

std::size_t WordCache::place_of(std::string_view word, std::uint64_t hash) const noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  while (slots_[at].text_size != 0 &&
         (slots_[at].hash != hash || slots_[at].text_size != word.size() ||
          std::memcmp(texts_.data() + slots_[at].text_begin, word.data(), word.size()) != 0))
    at = (at + 1) & mask;
  return at;
}

std::optional<std::span<const std::int32_t>> WordCache::find(std::string_view word) const noexcept {
  if (slots_.empty() || word.size() > kMaxCachedWord) return std::nullopt;
  const Slot& slot = slots_[place_of(word, hash_of(word))];
  if (slot.text_size == 0) return std::nullopt;
  return std::span(ids_).subspan(slot.ids_begin, slot.ids_size);
}

void WordCache::remember(std::string_view word, std::span<const std::int32_t> ids) {
  if (word.empty() || word.size() > kMaxCachedWord || count_ >= kMaxCachedWords) return;
  if (count_ * 2 >= slots_.size()) grow();
  const std::uint64_t hash = hash_of(word);
  Slot& slot = slots_[place_of(word, hash)];
  if (slot.text_size != 0) return;
  slot = {hash, static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(ids_.size()),
          static_cast<std::uint16_t>(word.size()), static_cast<std::uint16_t>(ids.size())};
  texts_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++count_;
}

void WordCache::grow() {
  std::vector<Slot> old(std::max<std::size_t>(slots_.size() * 2, 64));
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.text_size != 0)
      slots_[place_of(std::string_view(texts_).substr(slot.text_begin, slot.text_size), slot.hash)] = slot;
}

// The symbols of one word as a doubly linked list in an array; a symbol that was merged into its left neighbour has
// size 0.
struct BpeModel::Word {
  struct Node {
    Symbol symbol = kNone;  // kNone: a character without a token
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    std::uint32_t begin = 0;  // bytes of the word
    std::uint32_t size = 0;
  };
  struct Candidate {
    std::uint32_t rank = 0;
    std::uint32_t left = 0;  // node
    Symbol result = 0;
    bool operator>(const Candidate& other) const noexcept {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  std::string_view text;
  std::vector<Node> nodes;
  std::vector<std::pair<Symbol, std::pair<Symbol, Symbol>>> unused_origins;

  void add(Symbol symbol, std::size_t begin, std::size_t size) {
    const auto index = static_cast<std::uint32_t>(nodes.size());
    if (index > 0) nodes.back().next = index;
    nodes.push_back({symbol, index > 0 ? index - 1 : kNone, kNone, static_cast<std::uint32_t>(begin),
                     static_cast<std::uint32_t>(size)});
  }
};

BpeModel::BpeModel(MergeTable merges, BpeSettings settings, const Vocabulary& vocabulary)
    : merges_(std::move(merges)), settings_(std::move(settings)), num_tokens_(vocabulary.size()) {
  cuts_before_space_ = cuts_before_space(vocabulary);
}

BpeModel BpeModel::from_scores(const Vocabulary& vocabulary, BpeSettings settings, bool merges_all) {
  const auto takes_part = [&](const Token& token) {
    return !token.text.empty() && (merges_all || token.kind == TokenKind::normal ||
                                   token.kind == TokenKind::user_defined || token.kind == TokenKind::unused);
  };
  BpeModel model;
  model.settings_ = std::move(settings);
  model.num_tokens_ = vocabulary.size();
  std::vector<std::int32_t> by_score;
  for (std::size_t id = 0; id < vocabulary.size(); ++id) {
    const Token& token = vocabulary[id];
    if (!takes_part(token)) continue;
    by_score.push_back(static_cast<std::int32_t>(id));
    if (token.kind == TokenKind::unused) model.has_unused_ = model.settings_.reads_unused;
    for (std::size_t at = 0; at < token.text.size();) {
      const std::string_view character = next_character(token.text, at);
      if (!vocabulary.find(character))
        model.characters_.emplace(character, static_cast<Symbol>(vocabulary.size() + model.characters_.size()));
    }
  }
  const auto symbol_of = [&](std::string_view text) -> Symbol {
    if (const auto id = vocabulary.find(text)) return takes_part(vocabulary[*id]) ? static_cast<Symbol>(*id) : kNone;
    const auto found = model.characters_.find(std::string(text));
    return found == model.characters_.end() ? kNone : found->second;
  };
  std::stable_sort(by_score.begin(), by_score.end(),
                   [&](std::int32_t a, std::int32_t b) { return vocabulary[a].score > vocabulary[b].score; });
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < by_score.size(); ++i) {
    const Token& token = vocabulary[by_score[i]];
    if (i > 0 && token.score < vocabulary[by_score[i - 1]].score) ++rank;
    // Of two tokens with one text only the first can be produced.
    if (vocabulary.find(token.text) != by_score[i]) continue;
    for (std::size_t at = 0; at < token.text.size();) {
      next_character(token.text, at);
      if (at == token.text.size()) break;
      const Symbol left = symbol_of(std::string_view(token.text).substr(0, at));
      if (left == kNone) continue;
      const Symbol right = symbol_of(std::string_view(token.text).substr(at));
      if (right != kNone) model.merges_.insert(left, right, {rank, static_cast<Symbol>(by_score[i])});
    }
  }
  model.cuts_before_space_ = model.cuts_before_space(vocabulary);
  return model;
}

bool BpeModel::cuts_before_space(const Vocabulary& vocabulary) const {
  if (settings_.ignore_merges || !settings_.continuing_prefix.empty() || !settings_.end_suffix.empty()) return false;
  // An unknown space could fuse with an unknown character before it, and one that vanishes would let spaces meet.
  if (!vocabulary.find(kVisibleSpace) || !settings_.unknown) return false;
  for (const MergeTable::Entry& entry : merges_.entries()) {
    const std::string& text = vocabulary[entry.merge.result].text;
    for (std::size_t at = text.find(kVisibleSpace); at != std::string::npos; at = text.find(kVisibleSpace, at + 1))
      if (at > 0 && std::string_view(text).substr(0, at).substr(at < 3 ? 0 : at - 3) != kVisibleSpace) return false;
  }
  return true;
}

void BpeModel::encode(std::string_view text, const Vocabulary& vocabulary, WordCache& cache,
                      std::vector<std::int32_t>& ids) const {
  const auto encode_one = [&](std::string_view word) {
    if (const auto known = cache.find(word)) {
      ids.insert(ids.end(), known->begin(), known->end());
      return;
    }
    const std::size_t before = ids.size();
    encode_word(word, vocabulary, ids);
    cache.remember(word, std::span(ids).subspan(before));
  };
  if (!cuts_before_space_) return encode_one(text);
  while (!text.empty()) {
    // The first visible space that follows something else.
    std::size_t cut = 0;
    while (text.substr(cut).starts_with(kVisibleSpace)) cut += kVisibleSpace.size();
    cut = std::min(text.find(kVisibleSpace, cut), text.size());
    encode_one(text.substr(0, cut));
    text.remove_prefix(cut);
  }
}

void BpeModel::encode_word(std::string_view text, const Vocabulary& vocabulary, std::vector<std::int32_t>& ids) const {
  if (settings_.ignore_merges) {
    if (const auto id = vocabulary.find(text)) {
      ids.push_back(*id);
      return;
    }
  }
  Word word;
  word.text = text;
  word.nodes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const std::string_view character = next_character(text, at);
    if (settings_.continuing_prefix.empty() && settings_.end_suffix.empty()) {
      add_character(character, character, vocabulary, word);
    } else {
      std::string spelled = begin > 0 ? settings_.continuing_prefix : std::string();
      spelled += character;
      if (at == text.size()) spelled += settings_.end_suffix;
      add_character(character, spelled, vocabulary, word);
    }
  }
  merge(word);
  bool after_unknown = false;
  for (std::uint32_t i = word.nodes.empty() ? kNone : 0; i != kNone; i = word.nodes[i].next) {
    const Word::Node& node = word.nodes[i];
    const std::string_view piece = text.substr(node.begin, node.size);
    if (node.symbol != kNone && (is_token(node.symbol) || append_bytes(piece, vocabulary, ids))) {
      if (is_token(node.symbol)) append_symbol(word, node.symbol, piece, vocabulary, ids);
      after_unknown = false;
    } else if (settings_.unknown && !(after_unknown && settings_.fuse_unknown)) {
      ids.push_back(*settings_.unknown);
      after_unknown = true;
    }
  }
}

// `spelled` is the character with the prefix or suffix that its place in the word asks for.
void BpeModel::add_character(std::string_view character, std::string_view spelled, const Vocabulary& vocabulary,
                             Word& word) const {
  const std::size_t begin = static_cast<std::size_t>(character.data() - word.text.data());
  if (const auto id = vocabulary.find(spelled)) return word.add(static_cast<Symbol>(*id), begin, character.size());
  if (!characters_.empty()) {
    const auto found = characters_.find(std::string(spelled));
    if (found != characters_.end()) return word.add(found->second, begin, character.size());
  }
  std::vector<std::int32_t> bytes;
  if (!append_bytes(spelled, vocabulary, bytes)) {
    // Without an unknown token the character is as if it had never been there: its neighbours may merge.
    if (settings_.unknown) word.add(kNone, begin, character.size());
    return;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i)
    word.add(static_cast<Symbol>(bytes[i]), begin, i == 0 ? character.size() : 0);
}

bool BpeModel::append_bytes(std::string_view text, const Vocabulary& vocabulary, std::vector<std::int32_t>& ids) const {
  if (!settings_.byte_fallback) return false;
  for (const char c : text)
    if (vocabulary.byte_token(static_cast<std::uint8_t>(c)) < 0) return false;
  for (const char c : text) ids.push_back(vocabulary.byte_token(static_cast<std::uint8_t>(c)));
  return true;
}

void BpeModel::merge(Word& word) const {
  std::vector<Word::Node>& nodes = word.nodes;
  std::priority_queue<Word::Candidate, std::vector<Word::Candidate>, std::greater<>> queue;
  const auto consider = [&](std::uint32_t left) {
    if (left == kNone || nodes[left].next == kNone) return;
    const Symbol a = nodes[left].symbol;
    const Symbol b = nodes[nodes[left].next].symbol;
    if (a == kNone || b == kNone) return;
    if (const Merge* found = merges_.find(a, b)) queue.push({found->rank, left, found->result});
  };
  for (std::uint32_t i = 0; i + 1 < nodes.size(); ++i) consider(i);
  while (!queue.empty()) {
    const Word::Candidate best = queue.top();
    queue.pop();
    Word::Node& left = nodes[best.left];
    // The neighbours may have merged with others since.
    if (left.symbol == kNone || left.next == kNone) continue;
    Word::Node& right = nodes[left.next];
    const Merge* found = right.symbol == kNone ? nullptr : merges_.find(left.symbol, right.symbol);
    if (found == nullptr || found->result != best.result) continue;
    if (has_unused_ && word.nodes.size() > 1) word.unused_origins.push_back({best.result, {left.symbol, right.symbol}});
    left.symbol = best.result;
    left.size += right.size;
    left.next = right.next;
    right.symbol = kNone;
    if (left.next != kNone) nodes[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
}

void BpeModel::append_symbol(const Word& word, Symbol symbol, std::string_view text, const Vocabulary& vocabulary,
                             std::vector<std::int32_t>& ids) const {
  if (has_unused_ && is_token(symbol) && vocabulary[symbol].kind == TokenKind::unused) {
    // The latest way in which this word produced the piece decides, as in SentencePiece.
    for (auto origin = word.unused_origins.rbegin(); origin != word.unused_origins.rend(); ++origin) {
      if (origin->first != symbol) continue;
      const auto [left, right] = origin->second;
      std::size_t cut = 0;
      next_character(text, cut);  // a symbol that is no token is one character
      if (is_token(left)) cut = vocabulary[left].text.size();
      append_symbol(word, left, text.substr(0, cut), vocabulary, ids);
      append_symbol(word, right, text.substr(cut), vocabulary, ids);
      return;
    }
  }
  if (is_token(symbol)) {
    ids.push_back(static_cast<std::int32_t>(symbol));
  } else if (!append_bytes(text, vocabulary, ids) && settings_.unknown) {
    ids.push_back(*settings_.unknown);
  }
}

}  // namespace nibble::tokenizing
