// SPDX-License-Identifier: Apache-2.0
#include "serve/api/answer_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "base/random.h"

namespace nibble::serve {

namespace {

// Nine letters and digits, as the strictest of templates ask for.
std::string call_id(std::string_view seed, std::size_t number) {
  constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  Random random(std::hash<std::string>()(fmt::format("{}/{}", seed, number)));
  std::string id;
  for (int i = 0; i < 9; ++i) id += kLetters[random.below(kLetters.size())];
  return id;
}

}  // namespace

AnswerBlocks::AnswerBlocks(const AnswerSyntax& syntax, std::string seed)
    : thoughts_(syntax.marks, syntax.begins_in_reasoning), seed_(std::move(seed)) {
  if (syntax.calls) call_stream_.emplace(*syntax.calls, syntax.tools);
}

void AnswerBlocks::open(AnswerBlock block, std::vector<BlockChange>& changes) {
  if (is_open_ && blocks_.back().kind == block.kind && block.kind != AnswerBlock::Kind::call) return;
  close(changes);
  is_open_ = true;
  changes.push_back({.kind = BlockChange::Kind::opened, .block = blocks_.size()});
  blocks_.push_back(std::move(block));
}

void AnswerBlocks::grow(std::string text, std::vector<BlockChange>& changes) {
  blocks_.back().text += text;
  changes.push_back({.kind = BlockChange::Kind::grown, .block = blocks_.size() - 1, .text = std::move(text)});
}

void AnswerBlocks::close(std::vector<BlockChange>& changes) {
  if (std::exchange(is_open_, false))
    changes.push_back({.kind = BlockChange::Kind::closed, .block = blocks_.size() - 1});
}

// What is no thought.
void AnswerBlocks::add_said(std::string_view text, bool is_last, std::vector<BlockChange>& changes) {
  std::vector<ToolCallPart> parts;
  if (call_stream_) {
    parts = call_stream_->push(text);
    if (is_last) std::ranges::move(call_stream_->finish(), std::back_inserter(parts));
  } else if (!text.empty()) {
    parts.push_back({ToolCallPart::Kind::text, std::string(text)});
  }
  for (ToolCallPart& part : parts) {
    if (part.kind == ToolCallPart::Kind::name) {
      std::string id = call_id(seed_, calls_);
      open({.kind = AnswerBlock::Kind::call, .name = std::move(part.text), .id = std::move(id), .number = calls_},
           changes);
      ++calls_;
      continue;
    }
    if (part.kind == ToolCallPart::Kind::text) open({}, changes);
    grow(std::move(part.text), changes);
  }
}

std::vector<BlockChange> AnswerBlocks::take(const GenerationEvent& event) {
  std::vector<AnswerPart> parts = thoughts_.push(event.text);
  if (event.finish) std::ranges::move(thoughts_.finish(), std::back_inserter(parts));
  std::vector<BlockChange> changes;
  for (AnswerPart& part : parts) {
    has_said_ = has_said_ || !part.is_reasoning;
    if (!part.is_reasoning) {
      add_said(part.text, false, changes);
      continue;
    }
    open({.kind = AnswerBlock::Kind::thought}, changes);
    grow(std::move(part.text), changes);
  }
  if (!has_said_) tokens_before_text_ += event.tokens.size();
  if (!event.finish) return changes;
  add_said("", true, changes);
  if (blocks_.empty()) open({}, changes);
  close(changes);
  return changes;
}

std::string AnswerBlocks::text_of(AnswerBlock::Kind kind) const {
  std::string text;
  for (const AnswerBlock& block : blocks_)
    if (block.kind == kind) text += block.text;
  return text;
}

std::size_t AnswerBlocks::reasoning_tokens() const noexcept {
  return !blocks_.empty() && blocks_.front().kind == AnswerBlock::Kind::thought ? tokens_before_text_ : 0;
}

}  // namespace nibble::serve
