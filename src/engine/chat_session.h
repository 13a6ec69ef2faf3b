// SPDX-License-Identifier: Apache-2.0
//
// A model that is talked to: conversations become its template's text, answers come apart from the thoughts before
// them, and what two conversations have in common at their beginnings is not read twice. One thread at a time.
//
//   const ModelTemplate chat_template = ModelTemplate::open(model, "", false);
//   ChatSession chat(decoder, tokenizer, chat_template, 4096);
//   conversation.messages.push_back({{"role", "user"}, {"content", "Hello"}});
//   const ChatPrompt prompt = make_prompt(chat_template, tokenizer, conversation);
//   const ChatAnswer answer = chat.answer(prompt, {.max_tokens = 200}, show);
//   conversation.messages.push_back(message_of(answer));
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/decoder.h"
#include "engine/generate.h"
#include "engine/remembered_sequence.h"
#include "model/model_template.h"
#include "nibble/chat.h"

namespace nibble {

// {"role": "assistant", "content": ..., "reasoning_content": ...}
nlohmann::ordered_json message_of(const ChatAnswer& answer);

// A conversation as the model reads it, with the beginning of an answer behind it.
struct ChatPrompt {
  std::string text;
  std::vector<std::int32_t> ids;
  std::optional<ReasoningMarks> reasoning;  // that the template knows
};
// Errors as ModelTemplate::render's.
ChatPrompt make_prompt(const ModelTemplate& chat_template, const Tokenizer& tokenizer, Conversation conversation);

class ChatSession {
 public:
  // All three must outlive this. context: most tokens of a conversation and its answer. Errors as Decoder::new_cache's.
  ChatSession(Decoder& decoder, const Tokenizer& tokenizer, const ModelTemplate& chat_template, std::size_t context);
  // The same where whoever owns the decoder steps it.
  ChatSession(const Decoder& decoder, StepFunction step, const Tokenizer& tokenizer, const ModelTemplate& chat_template,
              std::size_t context);

  std::size_t context() const noexcept { return held_.cache().capacity(); }
  std::size_t held_tokens() const noexcept { return held_.tokens().size(); }
  std::uint64_t cache_bytes() const noexcept { return held_.cache().resident_bytes(); }

  // make_prompt with this session's template and tokenizer.
  ChatPrompt prompt(Conversation conversation) const {
    return make_prompt(template_, tokenizer_, std::move(conversation));
  }

  // options' context has no meaning here. Errors: unusable_input (no room in the context, says both counts); cancelled
  // (by progress, while the prompt is read).
  ChatAnswer answer(const ChatPrompt& prompt, const GenerateOptions& options, const AnswerCallback& on_text);

  // Forgets what was read.
  void clear() noexcept { held_.clear(); }

 private:
  void step(const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress);

  const Decoder& decoder_;
  StepFunction step_;
  const Tokenizer& tokenizer_;
  const ModelTemplate& template_;
  RememberedSequence held_;
};

}  // namespace nibble
