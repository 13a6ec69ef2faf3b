// SPDX-License-Identifier: Apache-2.0
#include "engine/chat_session.h"

#include <algorithm>
#include <utility>

namespace nibble {
namespace {

// A conversation goes on where the last prompt ended, but for the words that begin an answer, which the next prompt may
// have otherwise.
constexpr std::size_t kAnswerBeginning = 32;

}  // namespace

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
  points_.clear();
}

// To this length or, where the network needs points, the last one before it.
void ChatSession::go_back(std::size_t length) {
  if (cache_.needs_points() && length < cache_.length()) {
    std::erase_if(points_, [&](const SavedPoint& point) { return point.length() > length; });
    if (points_.empty())
      cache_.clear();
    else
      cache_.restore(points_.back());
  } else {
    cache_.go_back(std::min(length, cache_.length()));
    std::erase_if(points_, [&](const SavedPoint& point) { return point.length() > cache_.length(); });
  }
  held_.resize(std::min(held_.size(), cache_.length()));
}

// Saves a point on the way through a prompt where the network needs one to go back to.
void ChatSession::step(const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
  SequenceStep rest = alone;
  if (cache_.needs_points() && alone.tokens.size() > kAnswerBeginning) {
    const std::span<const std::int32_t> before = alone.tokens.first(alone.tokens.size() - kAnswerBeginning);
    const SequenceStep silent{&cache_, before, before.size()};
    decoder_.step(std::span(&silent, 1), {}, progress);
    if (points_.size() == kMostPoints) points_.erase(points_.begin());
    points_.push_back(cache_.save());
    rest.tokens = alone.tokens.subspan(before.size());
    rest.first = alone.first - before.size();
  }
  decoder_.step(std::span(&rest, 1), logits, progress);
}

// How many tokens need not be read again. At least one is: it makes the first logits.
std::size_t ChatSession::keep_common(const std::vector<std::int32_t>& ids) {
  const auto end = std::ranges::mismatch(held_, ids).in1;
  const auto common = static_cast<std::size_t>(end - held_.begin());
  go_back(std::min(common, ids.empty() ? 0 : ids.size() - 1));
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
  Generated made;
  try {
    made = generate(
        decoder_, cache_,
        [&](const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
          step(alone, logits, progress);
        },
        tokenizer_, ids, options,
        [&](std::string_view text) { return give(stream.push(text)) && (!on_text || on_text(false, "")); });
  } catch (...) {
    go_back(held_.size());
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
