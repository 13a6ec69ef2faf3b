// SPDX-License-Identifier: Apache-2.0
#include "model/chat/reasoning.h"

#include <algorithm>
#include <utility>

#include "model/chat/begun_mark.h"

namespace nibble {

namespace {

const std::vector<ReasoningMarks>& known_marks() {
  static const std::vector<ReasoningMarks> known = {
      {"<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>"},
      {"<|channel>thought", "<channel|>"},
      {"<|START_THINKING|>", "<|END_THINKING|>"},
      {"<seed:think>", "</seed:think>"},
      {"[THINK]", "[/THINK]"},
      {"<think>", "</think>"},
  };
  return known;
}

std::size_t count_blanks_at_end(std::string_view text) {
  const std::size_t last = text.find_last_not_of(kBlanks);
  return last == std::string_view::npos ? text.size() : text.size() - 1 - last;
}

// Templates spell channels in pieces: what all of them have is the channel's name in a mark.
bool is_known_to(std::string_view template_text, const ReasoningMarks& marks) {
  if (marks.answer.empty())
    return template_text.find(marks.close) != std::string_view::npos ||
           template_text.find(marks.open) != std::string_view::npos;
  return template_text.find("<|channel|>analysis") != std::string_view::npos;
}

}  // namespace

std::optional<ReasoningMarks> reasoning_marks(std::string_view template_text) {
  for (const ReasoningMarks& marks : known_marks())
    if (is_known_to(template_text, marks)) return marks;
  return std::nullopt;
}

bool ends_in_reasoning(const ReasoningMarks& marks, std::string_view prompt) {
  prompt.remove_suffix(count_blanks_at_end(prompt));
  return prompt.ends_with(marks.open);
}

ReasoningStream::ReasoningStream(std::optional<ReasoningMarks> marks, bool begins_in_reasoning)
    : marks_(std::move(marks)),
      stage_(!marks_               ? Stage::answer
             : begins_in_reasoning ? Stage::reasoning
                                   : Stage::before),
      skips_blanks_(marks_.has_value() && begins_in_reasoning) {}

void ReasoningStream::skip_blanks() { held_.erase(0, held_.find_first_not_of(kBlanks)); }

void ReasoningStream::give(std::size_t count, std::vector<AnswerPart>& parts) {
  if (count > 0) parts.push_back({stage_ == Stage::reasoning, held_.substr(0, count)});
  held_.erase(0, count);
}

// Whether there is more to be said about what is held.
bool ReasoningStream::advance(std::vector<AnswerPart>& parts) {
  if (skips_blanks_) {
    skip_blanks();
    if (held_.empty()) return false;
    skips_blanks_ = false;
  }
  switch (stage_) {
    case Stage::before: {
      std::string_view text = held_;
      text.remove_prefix(std::min(text.size(), text.find_first_not_of(kBlanks)));
      if (text.starts_with(marks_->open)) {
        held_ = text.substr(marks_->open.size());
        stage_ = Stage::reasoning;
        skips_blanks_ = true;
        return true;
      }
      if (std::string_view(marks_->open).starts_with(text)) return false;
      stage_ = Stage::between;
      return true;
    }
    case Stage::reasoning: {
      if (const std::size_t end = held_.find(marks_->close); end != std::string::npos) {
        const std::string_view reasoning = std::string_view(held_).substr(0, end);
        const std::size_t blanks = count_blanks_at_end(reasoning);
        give(end - blanks, parts);
        held_.erase(0, blanks + marks_->close.size());
        stage_ = Stage::between;
        skips_blanks_ = true;
        return true;
      }
      const std::size_t begun = begun_mark(held_, marks_->close);
      const std::size_t blanks = count_blanks_at_end(std::string_view(held_).substr(0, held_.size() - begun));
      give(held_.size() - begun - blanks, parts);
      return false;
    }
    case Stage::between:
      if (!marks_->answer.empty()) {
        // The first of its words may be left out, where the prompt has written it.
        const std::string_view answer = marks_->answer;
        const std::string_view short_answer = answer.substr(answer.find("<|channel|>"));
        for (const std::string_view mark : {answer, short_answer}) {
          if (held_.starts_with(mark)) {
            held_.erase(0, mark.size());
            break;
          }
          if (mark.starts_with(held_)) return false;
        }
      }
      stage_ = Stage::answer;
      return true;
    case Stage::answer:
      give(held_.size(), parts);
      return false;
  }
  return false;
}

std::vector<AnswerPart> ReasoningStream::push(std::string_view text) {
  std::vector<AnswerPart> parts;
  held_ += text;
  while (advance(parts)) continue;
  return parts;
}

std::vector<AnswerPart> ReasoningStream::finish() {
  std::vector<AnswerPart> parts;
  if (!skips_blanks_) give(held_.size(), parts);
  held_.clear();
  return parts;
}

}  // namespace nibble
