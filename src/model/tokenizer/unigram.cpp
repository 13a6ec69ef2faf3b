// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/unigram.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"

namespace nibble::tokenizing {
namespace {

constexpr float kUnknownPenalty = 10.0f;
constexpr float kUserDefinedPenalty = 0.1f;

}  // namespace

UnigramModel::UnigramModel(const Vocabulary& vocabulary, UnigramSettings settings) : settings_(settings), nodes_(1) {
  float lowest = std::numeric_limits<float>::max();
  float highest = std::numeric_limits<float>::lowest();
  for (const Token& token : vocabulary.tokens()) {
    if (token.kind != TokenKind::normal || token.text.empty()) continue;
    lowest = std::min(lowest, token.score);
    highest = std::max(highest, token.score);
  }
  unknown_score_ = lowest - kUnknownPenalty;
  for (std::size_t id = 0; id < vocabulary.size(); ++id) {
    const Token& token = vocabulary[id];
    if (token.text.empty() || (token.kind != TokenKind::normal && token.kind != TokenKind::user_defined)) continue;
    std::uint32_t node = 0;
    for (const char c : token.text) {
      const auto [next, added] = edges_.emplace(edge(node, c), static_cast<std::uint32_t>(nodes_.size()));
      if (added) nodes_.emplace_back();
      node = next->second;
    }
    const bool preferred = settings_.prefers_user_defined && token.kind == TokenKind::user_defined;
    const float score = preferred ? static_cast<float>(token.text.size()) * highest - kUserDefinedPenalty : token.score;
    nodes_[node] = {static_cast<std::int32_t>(id), score};
  }
}

void UnigramModel::encode(std::string_view text, const Vocabulary& vocabulary, std::vector<std::int32_t>& ids) const {
  // best[i]: the best way to reach byte i.
  struct Best {
    float score = 0;
    std::size_t begin = 0;
    std::int32_t id = -1;
    bool reached = false;
  };
  std::vector<Best> best(text.size() + 1);
  best[0].reached = true;
  const auto offer = [&](std::size_t begin, std::size_t end, std::int32_t id, float score) {
    Best& there = best[end];
    if (!there.reached || score > there.score) there = {score, begin, id, true};
  };
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t after = begin;
    next_code_point(text, after);
    bool covers_character = false;
    std::uint32_t node = 0;
    for (std::size_t end = begin; end < text.size();) {
      const auto next = edges_.find(edge(node, text[end]));
      if (next == edges_.end()) break;
      node = next->second;
      ++end;
      if (nodes_[node].id < 0) continue;
      offer(begin, end, nodes_[node].id, best[begin].score + nodes_[node].score);
      if (end == after) covers_character = true;
    }
    if (!covers_character) offer(begin, after, -1, best[begin].score + unknown_score_);
    begin = after;
  }
  std::vector<std::pair<std::size_t, std::size_t>> pieces;  // [begin, end), last first
  for (std::size_t end = text.size(); end > 0; end = best[end].begin) pieces.emplace_back(best[end].begin, end);
  bool after_unknown = false;
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    const std::int32_t id = best[piece->second].id;
    if (id >= 0) {
      ids.push_back(id);
      after_unknown = false;
      continue;
    }
    const std::string_view unknown = text.substr(piece->first, piece->second - piece->first);
    const bool has_bytes = settings_.byte_fallback && std::all_of(unknown.begin(), unknown.end(), [&](char c) {
                             return vocabulary.byte_token(static_cast<std::uint8_t>(c)) >= 0;
                           });
    if (has_bytes) {
      for (const char c : unknown) ids.push_back(vocabulary.byte_token(static_cast<std::uint8_t>(c)));
    } else if (!after_unknown && settings_.unknown >= 0) {
      ids.push_back(settings_.unknown);
    }
    after_unknown = !has_bytes;
  }
}

}  // namespace nibble::tokenizing
