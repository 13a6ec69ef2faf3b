// SPDX-License-Identifier: Apache-2.0
#include "engine/chat_session.h"

#include <utility>

namespace nibble {

nlohmann::ordered_json message_of(const ChatAnswer& answer) {
  nlohmann::ordered_json message = {{"role", "assistant"}, {"content", answer.text}};
  if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
  return message;
}

ChatPrompt make_prompt(const ModelTemplate& chat_template, const Tokenizer& tokenizer, Conversation conversation) {
  conversation.add_generation_prompt = true;
  ChatPrompt prompt;
  prompt.text = chat_template.render(std::move(conversation));
  prompt.ids = tokenizer.encode(prompt.text, kRenderedText);
  prompt.reasoning = chat_template.reasoning();
  return prompt;
}

ChatSession::ChatSession(Decoder& decoder, const Tokenizer& tokenizer, const ModelTemplate& chat_template,
                         std::size_t context)
    : ChatSession(
          decoder,
          [&decoder](const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
            decoder.step(std::span(&alone, 1), logits, progress);
          },
          tokenizer, chat_template, context) {}

ChatSession::ChatSession(const Decoder& decoder, StepFunction step, const Tokenizer& tokenizer,
                         const ModelTemplate& chat_template, std::size_t context)
    : decoder_(decoder),
      step_(std::move(step)),
      tokenizer_(tokenizer),
      template_(chat_template),
      held_(decoder.new_cache(context)) {}

// Saves a point on the way through a prompt where the network needs one to go back to.
void ChatSession::step(const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
  SequenceStep rest = alone;
  constexpr std::size_t kAfter = RememberedSequence::kAnswerBeginning;
  if (alone.cache->needs_points() && alone.tokens.size() > kAfter) {
    const std::span<const std::int32_t> before = alone.tokens.first(alone.tokens.size() - kAfter);
    const SequenceStep silent{alone.cache, before, before.size()};
    step_(silent, {}, progress);
    held_.save_point();
    rest.tokens = alone.tokens.subspan(before.size());
    rest.first = alone.first - before.size();
  }
  step_(rest, logits, progress);
}

ChatAnswer ChatSession::answer(const ChatPrompt& prompt, const GenerateOptions& options,
                               const AnswerCallback& on_text) {
  const std::vector<std::int32_t>& ids = prompt.ids;
  ChatAnswer answer;
  answer.kept_tokens = held_.keep_common(ids);

  const std::optional<ReasoningMarks>& marks = prompt.reasoning;
  ReasoningStream stream(marks, marks && ends_in_reasoning(*marks, prompt.text));
  const auto give = [&](const std::vector<AnswerPart>& parts) {
    bool goes_on = true;
    for (const AnswerPart& part : parts) {
      (part.is_reasoning ? answer.reasoning : answer.text) += part.text;
      goes_on = goes_on && (!on_text || on_text(part.is_reasoning, part.text));
    }
    return goes_on;
  };
  Generated made;
  try {
    made = generate(
        decoder_, held_.cache(),
        [&](const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
          step(alone, logits, progress);
        },
        tokenizer_, ids, options,
        [&](std::string_view text) { return give(stream.push(text)) && (!on_text || on_text(false, "")); });
  } catch (...) {
    held_.go_back(answer.kept_tokens);
    throw;
  }
  give(stream.finish());

  std::vector<std::int32_t> given = ids;
  given.insert(given.end(), made.tokens.begin(), made.tokens.end());
  held_.remember(given);
  answer.reason = made.reason;
  answer.prompt_tokens = ids.size();
  answer.new_tokens = made.tokens.size();
  answer.prompt_seconds = made.prompt_seconds;
  answer.decode_seconds = made.decode_seconds;
  answer.decode_tokens = made.decode_tokens;
  return answer;
}

}  // namespace nibble
