// SPDX-License-Identifier: Apache-2.0
//
// What a model thinks before it answers, told from the answer by the marks that its template knows.
//
//   const auto marks = reasoning_marks(template_text);
//   ReasoningStream stream(marks, marks && ends_in_reasoning(*marks, rendered_prompt));
//   for (const AnswerPart& part : stream.push("<think>Hm.</think>Yes")) show(part.is_reasoning, part.text);
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct ReasoningMarks {
  std::string open, close;
  std::string answer = {};  // a further mark between reasoning and answer, or in front of an answer alone; empty: none
};

// Of the kinds that models use: <think>, [THINK], channels and their like. None: the template knows no such marks.
std::optional<ReasoningMarks> reasoning_marks(std::string_view template_text);

// Whether a rendered prompt has opened the reasoning itself, so that the model goes on within it.
bool ends_in_reasoning(const ReasoningMarks& marks, std::string_view prompt);

struct AnswerPart {
  bool is_reasoning = false;
  std::string text;
  bool operator==(const AnswerPart&) const = default;
};

// Reasoning stands in front of the answer, once. Marks and the white space around them belong to neither. One thread.
class ReasoningStream {
 public:
  // No marks: all is answer.
  explicit ReasoningStream(std::optional<ReasoningMarks> marks, bool begins_in_reasoning = false);

  // Takes new text and returns what is now certain.
  std::vector<AnswerPart> push(std::string_view text);
  // What is left when no more comes.
  std::vector<AnswerPart> finish();

 private:
  enum class Stage { before, reasoning, between, answer };
  bool advance(std::vector<AnswerPart>& parts);
  void skip_blanks();
  void give(std::size_t count, std::vector<AnswerPart>& parts);

  std::optional<ReasoningMarks> marks_;
  Stage stage_;
  bool skips_blanks_;
  std::string held_;
};

}  // namespace nibble
