// SPDX-License-Identifier: Apache-2.0
//
// What answers are made of, and what clients are told of texts that do not come to their end.
#include <gtest/gtest.h>

#include "serve/api/answer_blocks.h"
#include "serve/api/chat_answer.h"
#include "serve/api/messages_answer.h"
#include "serve/api/responses_answer.h"
#include "serve/api/text_answer.h"
#include "serve/requests.h"

namespace nibble::serve {
namespace {

class Heard final : public HttpExchange {
 public:
  void answer(HttpAnswer answer) override {
    status = answer.status;
    text = answer.body;
  }
  void begin_stream(HttpAnswer, std::string) override {}
  void send(std::string piece) override { text += piece; }
  void end_stream() override { ++ends; }
  void on_gone(std::function<void()>) override {}

  std::string text;
  int status = 0, ends = 0;
};

class CutAnswer : public testing::Test, public ServedTale {
 protected:
  // A text that begins, and is cut.
  static void cut(Answer& answer, FinishReason finish) {
    const GenerationUsage usage;
    answer.on_end(
        [&](const AnswerSummary& summary) { EXPECT_EQ(summary.status, finish == FinishReason::failed ? 500 : 503); });
    answer.begin();
    GenerationEvent event;
    event.text = "Once ";
    answer.take(event);
    event.text = "upon";
    event.finish = finish;
    if (finish == FinishReason::failed) event.error = "it broke";
    event.usage = &usage;
    answer.take(event);
  }
  template <typename Make>
  void expect_error_alone(const Make& make, const std::vector<std::string>& ends) {
    for (const FinishReason finish : {FinishReason::cancelled, FinishReason::failed}) {
      const std::string why = finish == FinishReason::failed ? "it broke" : "the server is shutting down";
      const auto streamed = std::make_shared<Heard>(), whole = std::make_shared<Heard>();
      cut(*make(streamed, true), finish);
      EXPECT_NE(streamed->text.find("Once "), std::string::npos) << streamed->text;
      EXPECT_NE(streamed->text.find(why), std::string::npos) << streamed->text;
      for (const std::string& end : ends) EXPECT_EQ(streamed->text.find(end), std::string::npos) << streamed->text;
      EXPECT_EQ(streamed->ends, 1);
      cut(*make(whole, false), finish);
      EXPECT_EQ(whole->status, finish == FinishReason::failed ? 500 : 503);
      EXPECT_NE(whole->text.find(why), std::string::npos) << whole->text;
    }
  }
};

TEST_F(CutAnswer, IsToldAsAnErrorAndNotAsAnEnd) {
  using Exchange = std::shared_ptr<HttpExchange>;
  expect_error_alone(
      [](Exchange exchange, bool streams) {
        return std::make_unique<MessagesAnswer>(std::move(exchange),
                                                MessagesAnswerSettings{.id = "1", .model = "m", .streams = streams});
      },
      {"message_delta", "message_stop", "end_turn"});
  expect_error_alone(
      [](Exchange exchange, bool streams) {
        return std::make_unique<ResponsesAnswer>(std::move(exchange),
                                                 ResponsesAnswerSettings{.id = "1", .model = "m", .streams = streams});
      },
      {"response.completed", "response.incomplete", "output_item.done"});
  expect_error_alone(
      [&](Exchange exchange, bool streams) {
        return std::make_unique<ChatAnswer>(std::move(exchange),
                                            ChatAnswerSettings{.id = "1", .model = "m", .streams = streams}, tokenizer);
      },
      {"cancelled", "\"stop\"", "[DONE]"});
  expect_error_alone(
      [&](Exchange exchange, bool streams) {
        return std::make_unique<TextAnswer>(
            std::move(exchange),
            TextAnswerSettings{.id = "1", .model = "m", .streams = streams, .echoed = {std::string()}}, tokenizer);
      },
      {"cancelled", "\"stop\"", "[DONE]"});
}

const AnswerSyntax kThinks = {.marks = ReasoningMarks{"<think>", "</think>"}};

// A token each, so that how many are counted is what they are.
class Spoken {
 public:
  explicit Spoken(std::vector<std::string> pieces) : pieces_(std::move(pieces)) { usage_.new_tokens = pieces_.size(); }
  template <typename Take>
  void tell(const Take& take, FinishReason finish = FinishReason::stop) {
    const ToldToken token;
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      GenerationEvent event;
      event.text = pieces_[i];
      event.tokens = {&token, 1};
      event.usage = &usage_;
      if (i + 1 == pieces_.size()) event.finish = finish;
      take(event);
    }
  }

 private:
  std::vector<std::string> pieces_;
  GenerationUsage usage_;
};

TEST(AnswerBlocks, AreOpenedGrowAndAreClosedInTurn) {
  AnswerBlocks blocks(kThinks);
  std::string told;
  Spoken({"<think>", "\nHm", ".", "\n</th", "ink>", "\n\n", "Yes", ", so"}).tell([&](const GenerationEvent& event) {
    for (const BlockChange& change : blocks.take(event))
      told += std::string(change.kind == BlockChange::Kind::opened   ? "("
                          : change.kind == BlockChange::Kind::closed ? ")"
                                                                     : "+") +
              std::to_string(change.block) + change.text;
  });
  EXPECT_EQ(told, "(0+0Hm+0.)0(1+1Yes+1, so)1");
  EXPECT_EQ(blocks.text_of(AnswerBlock::Kind::thought), "Hm.");
  EXPECT_EQ(blocks.text_of(AnswerBlock::Kind::text), "Yes, so");
  EXPECT_EQ(blocks.reasoning_tokens(), 6u);
}

TEST(AnswerBlocks, HaveOneWhereNothingWasSaidAndNoThoughtsWhereNoneCame) {
  AnswerBlocks silent(kThinks), plain(kThinks), cut({.marks = kThinks.marks, .begins_in_reasoning = true});
  Spoken({""}).tell([&](const GenerationEvent& event) { EXPECT_EQ(silent.take(event).size(), 2u); });
  ASSERT_EQ(silent.all().size(), 1u);
  EXPECT_EQ(silent.all()[0].kind, AnswerBlock::Kind::text);
  Spoken({" ", "<", "b", ">"}).tell([&](const GenerationEvent& event) { plain.take(event); });
  EXPECT_EQ(plain.text_of(AnswerBlock::Kind::text), " <b>");
  EXPECT_EQ(plain.reasoning_tokens(), 0u);
  Spoken({"\nHm", " I"}).tell([&](const GenerationEvent& event) { cut.take(event); }, FinishReason::length);
  ASSERT_EQ(cut.all().size(), 1u);
  EXPECT_EQ(cut.reasoning_tokens(), 2u);
}

// By one rule on all interfaces that tell them.
TEST_F(CutAnswer, ThoughtsAreCountedAlike) {
  for (const bool streams : {false, true}) {
    const auto chat = std::make_shared<Heard>(), responses = std::make_shared<Heard>();
    ChatAnswer of_chat(chat, {.id = "1", .model = "m", .streams = streams, .includes_usage = true, .syntax = kThinks},
                       tokenizer);
    ResponsesAnswer of_responses(responses, {.id = "1", .model = "m", .streams = streams, .syntax = kThinks});
    for (Answer* const answer : {static_cast<Answer*>(&of_chat), static_cast<Answer*>(&of_responses)}) {
      answer->begin();
      Spoken({"<think>", "Hm", ".", "</think>", "Yes", "."}).tell([&](const GenerationEvent& event) {
        answer->take(event);
      });
    }
    for (const auto& heard : {chat, responses})
      EXPECT_NE(heard->text.find("\"reasoning_tokens\":4"), std::string::npos) << heard->text;
  }
}

}  // namespace
}  // namespace nibble::serve
