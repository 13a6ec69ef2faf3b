// SPDX-License-Identifier: Apache-2.0
//
// What the events of a text make of an answer: blocks, one behind the other, of what the model thinks and of what it
// says. Each kind of answer tells their changes in its own words. One thread at a time.
//
//   AnswerBlocks blocks(syntax);
//   for (const BlockChange& change : blocks.take(event)) show(blocks.all()[change.block], change);
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/chat/reasoning.h"
#include "serve/generation.h"

namespace nibble::serve {

// How a model writes what is no plain text.
struct AnswerSyntax {
  std::optional<ReasoningMarks> marks = {};
  bool begins_in_reasoning = false;
};

struct AnswerBlock {
  enum class Kind { thought, text };
  Kind kind = Kind::text;
  std::string text = {};  // so far
};

struct BlockChange {
  enum class Kind { opened, grown, closed };
  Kind kind = Kind::opened;
  std::size_t block = 0;
  std::string text = {};  // by which it has grown
};

class AnswerBlocks {
 public:
  explicit AnswerBlocks(const AnswerSyntax& syntax);

  // With the last event all is closed, and there is at least one block.
  std::vector<BlockChange> take(const GenerationEvent& event);

  const std::vector<AnswerBlock>& all() const noexcept { return blocks_; }
  // Texts of all blocks of a kind.
  std::string text_of(AnswerBlock::Kind kind) const;
  // Tokens before the first of what the model says, marks among them, where it thinks at all.
  std::size_t reasoning_tokens() const noexcept;

 private:
  void open(AnswerBlock::Kind kind, std::vector<BlockChange>& changes);
  void close(std::vector<BlockChange>& changes);

  ReasoningStream stream_;
  std::vector<AnswerBlock> blocks_;
  bool is_open_ = false;  // the last one
  std::size_t tokens_before_text_ = 0;
};

}  // namespace nibble::serve
