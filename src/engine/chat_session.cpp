// SPDX-License-Identifier: Apache-2.0
#include "engine/chat_session.h"

#include <algorithm>
#include <utility>

namespace nibble {

nlohmann::ordered_json ChatAnswer::message() const {
  nlohmann::ordered_json message = {{"role", "assistant"}, {"content", text}};
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  return message;
}

ChatPrompt make_prompt(const ModelTemplate& chat_template, const Tokenizer& tokenizer, Conversation conversation) {
  conversation.add_generation_prompt = true;
  ChatPrompt prompt;
  prompt.text = chat_template.render(std::move(conversation));
  prompt.ids = tokenizer.encode(prompt.text, kRenderedText);
  return prompt;
}

ChatSession::ChatSession(Decoder& decoder, const Tokenizer& tokenizer, const ModelTemplate& chat_template,
                         std::size_t context)
    : decoder_(decoder), tokenizer_(tokenizer), template_(chat_template), cache_(decoder.new_cache(context)) {}

void ChatSession::clear() noexcept {
  cache_.clear();
  held_.clear();
}

// How many tokens need not be read again. At least one is: it makes the first logits.
std::size_t ChatSession::keep_common(const std::vector<std::int32_t>& ids) {
  const auto end = std::ranges::mismatch(held_, ids).in1;
  const auto common = static_cast<std::size_t>(end - held_.begin());
  cache_.go_back(std::min(common, ids.empty() ? 0 : ids.size() - 1));
  held_.resize(cache_.length());
  return cache_.length();
}

ChatAnswer ChatSession::answer(const ChatPrompt& prompt, const GenerateOptions& options,
                               const AnswerCallback& on_text) {
  const auto& [rendered, ids] = prompt;
  ChatAnswer answer;
  answer.kept_tokens = keep_common(ids);

  const std::optional<ReasoningMarks>& marks = template_.reasoning();
  ReasoningStream stream(marks, marks && ends_in_reasoning(*marks, rendered));
  const auto give = [&](const std::vector<AnswerPart>& parts) {
    bool goes_on = true;
    for (const AnswerPart& part : parts) {
      (part.is_reasoning ? answer.reasoning : answer.text) += part.text;
      goes_on = goes_on && (!on_text || on_text(part.is_reasoning, part.text));
    }
    return goes_on;
  };
  const auto step = [&](const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
    decoder_.step(std::span(&alone, 1), logits, progress);
  };
  Generated made;
  try {
    made = generate(decoder_, cache_, step, tokenizer_, ids, options,
                    [&](std::string_view text) { return give(stream.push(text)) && (!on_text || on_text(false, "")); });
  } catch (...) {
    cache_.go_back(std::min(held_.size(), cache_.length()));
    held_.resize(cache_.length());
    throw;
  }
  give(stream.finish());

  held_ = ids;
  held_.insert(held_.end(), made.tokens.begin(), made.tokens.end());
  held_.resize(cache_.length());
  answer.reason = made.reason;
  answer.prompt_tokens = ids.size();
  answer.new_tokens = made.tokens.size();
  answer.prompt_seconds = made.prompt_seconds;
  answer.decode_seconds = made.decode_seconds;
  answer.decode_tokens = made.decode_tokens;
  return answer;
}

}  // namespace nibble
