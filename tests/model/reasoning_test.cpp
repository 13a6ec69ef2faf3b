// SPDX-License-Identifier: Apache-2.0
#include "model/chat/reasoning.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

struct Parted {
  std::string reasoning, answer;
  bool operator==(const Parted&) const = default;
};

// The text in pieces of so many bytes.
Parted part(ReasoningStream stream, std::string_view text, std::size_t size) {
  Parted parted;
  const auto add = [&](const std::vector<AnswerPart>& parts) {
    for (const AnswerPart& one : parts) (one.is_reasoning ? parted.reasoning : parted.answer) += one.text;
  };
  for (std::size_t i = 0; i < text.size(); i += size) add(stream.push(text.substr(i, size)));
  add(stream.finish());
  return parted;
}

void expect_parted(const std::optional<ReasoningMarks>& marks, bool inside, std::string_view text,
                   const Parted& expected) {
  for (const std::size_t size : {1, 2, 3, 7, 1000}) {
    const Parted parted = part(ReasoningStream(marks, inside), text, size);
    EXPECT_EQ(parted.reasoning, expected.reasoning) << text << " by " << size;
    EXPECT_EQ(parted.answer, expected.answer) << text << " by " << size;
  }
}

const ReasoningMarks kThink = {"<think>", "</think>"};

TEST(Reasoning, IsToldFromTheAnswer) {
  expect_parted(kThink, false, "<think>\nHm, 2 < 3.\n\nSo?\n</think>\n\nYes.\n", {"Hm, 2 < 3.\n\nSo?", "Yes.\n"});
  expect_parted(kThink, false, "\n<think></think>Yes.", {"", "Yes."});
  expect_parted(kThink, true, "\nHm.</think> Yes", {"Hm.", "Yes"});
}

TEST(Reasoning, WithoutMarksAllIsAnswer) {
  expect_parted(std::nullopt, false, "<think>a</think>b", {"", "<think>a</think>b"});
  expect_parted(kThink, false, "Plainly <think>not</think>.", {"", "Plainly <think>not</think>."});
  expect_parted(kThink, false, "  indented", {"", "  indented"});
}

TEST(Reasoning, MayNeverEnd) {
  expect_parted(kThink, false, "<think>on and on </thi", {"on and on </thi", ""});
  expect_parted(kThink, false, "<thi", {"", "<thi"});
  expect_parted(kThink, false, "", {"", ""});
}

TEST(Reasoning, ChannelsHaveAMarkBeforeTheAnswer) {
  const auto marks = reasoning_marks("{{ '<|channel|>analysis<|message|>' + message.thinking + '<|end|>' }}");
  ASSERT_TRUE(marks.has_value());
  expect_parted(marks, false,
                "<|channel|>analysis<|message|>Think.<|end|><|start|>assistant<|channel|>final<|message|>Answer.",
                {"Think.", "Answer."});
  expect_parted(marks, false, "<|channel|>final<|message|>Answer.", {"", "Answer."});
  expect_parted(marks, false, "Answer.", {"", "Answer."});
}

TEST(Reasoning, MarksAreThoseOfTheTemplate) {
  EXPECT_EQ(reasoning_marks("{{ messages[0].content }}"), std::nullopt);
  EXPECT_EQ(reasoning_marks("...content.split('</think>')...")->open, "<think>");
  EXPECT_EQ(reasoning_marks("[THINK]{{ x }}[/THINK]")->close, "[/THINK]");
}

TEST(Reasoning, APromptMayHaveOpenedIt) {
  EXPECT_TRUE(ends_in_reasoning(kThink, "<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(ends_in_reasoning(kThink, "<|im_start|>assistant\n<think>\n\n</think>\n\n"));
}

}  // namespace
}  // namespace nibble
