// SPDX-License-Identifier: Apache-2.0
#include "serve/api/answer_blocks.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace nibble::serve {

AnswerBlocks::AnswerBlocks(const AnswerSyntax& syntax) : stream_(syntax.marks, syntax.begins_in_reasoning) {}

void AnswerBlocks::open(AnswerBlock::Kind kind, std::vector<BlockChange>& changes) {
  if (is_open_ && blocks_.back().kind == kind) return;
  close(changes);
  is_open_ = true;
  changes.push_back({.kind = BlockChange::Kind::opened, .block = blocks_.size()});
  blocks_.push_back({.kind = kind});
}

void AnswerBlocks::close(std::vector<BlockChange>& changes) {
  if (std::exchange(is_open_, false))
    changes.push_back({.kind = BlockChange::Kind::closed, .block = blocks_.size() - 1});
}

std::vector<BlockChange> AnswerBlocks::take(const GenerationEvent& event) {
  std::vector<AnswerPart> parts = stream_.push(event.text);
  if (event.finish) std::ranges::move(stream_.finish(), std::back_inserter(parts));
  std::vector<BlockChange> changes;
  for (AnswerPart& part : parts) {
    open(part.is_reasoning ? AnswerBlock::Kind::thought : AnswerBlock::Kind::text, changes);
    blocks_.back().text += part.text;
    changes.push_back({.kind = BlockChange::Kind::grown, .block = blocks_.size() - 1, .text = std::move(part.text)});
  }
  if (std::ranges::all_of(blocks_, [](const AnswerBlock& one) { return one.kind == AnswerBlock::Kind::thought; }))
    tokens_before_text_ += event.tokens.size();
  if (!event.finish) return changes;
  if (blocks_.empty()) open(AnswerBlock::Kind::text, changes);
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
