// SPDX-License-Identifier: Apache-2.0
//
// What the events of a text make of an answer: blocks, one behind the other, of what the model thinks, of what it says,
// and of the tools that it calls. Each kind of answer tells their changes in its own words. One thread at a time.
//
//   AnswerBlocks blocks(syntax);
//   for (const BlockChange& change : blocks.take(event)) show(blocks.all()[change.block], change);
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/chat/reasoning.h"
#include "model/chat/tool_calls.h"
#include "serve/generation.h"

namespace nibble::serve {

// How a model writes what is no plain text.
struct AnswerSyntax {
  std::optional<ReasoningMarks> marks = {};
  bool begins_in_reasoning = false;
  std::optional<ToolCallForm> calls = {};  // none: what looks like a call is text
  std::vector<std::string> tools = {};     // that may be called
};

struct AnswerBlock {
  enum class Kind { thought, text, call };
  Kind kind = Kind::text;
  std::string text = {};  // so far; of a call its arguments
  // Of a call: of the tool, of the call itself, and how many calls are before it.
  std::string name = {}, id = {};
  std::size_t number = 0;
};

struct BlockChange {
  enum class Kind { opened, grown, closed };
  Kind kind = Kind::opened;
  std::size_t block = 0;
  std::string text = {};  // by which it has grown
};

class AnswerBlocks {
 public:
  // seed: of the calls' ids, which no other text has.
  explicit AnswerBlocks(const AnswerSyntax& syntax, std::string seed = "");

  // With the last event all is closed, and there is at least one block.
  std::vector<BlockChange> take(const GenerationEvent& event);

  const std::vector<AnswerBlock>& all() const noexcept { return blocks_; }
  // Texts of all blocks of a kind.
  std::string text_of(AnswerBlock::Kind kind) const;
  bool has_calls() const noexcept { return calls_ > 0; }
  // Whether there are calls that may be carried out: none of them was cut.
  bool has_whole_calls() const noexcept { return calls_ > 0 && call_stream_->has_whole_calls(); }
  // Tokens before the first of what the model says, marks among them, where it thinks at all.
  std::size_t reasoning_tokens() const noexcept;

 private:
  void add_said(std::string_view text, bool is_last, std::vector<BlockChange>& changes);
  void open(AnswerBlock block, std::vector<BlockChange>& changes);
  void grow(std::string text, std::vector<BlockChange>& changes);
  void close(std::vector<BlockChange>& changes);

  ReasoningStream thoughts_;
  std::optional<ToolCallStream> call_stream_;
  std::string seed_;
  std::vector<AnswerBlock> blocks_;
  bool is_open_ = false;  // the last one
  bool has_said_ = false;
  std::size_t calls_ = 0;
  std::size_t tokens_before_text_ = 0;
};

}  // namespace nibble::serve
