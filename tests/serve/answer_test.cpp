// SPDX-License-Identifier: Apache-2.0
//
// What clients are told of texts that do not come to their end.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace nibble::serve
