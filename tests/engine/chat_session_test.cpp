// SPDX-License-Identifier: Apache-2.0
#include "engine/chat_session.h"

#include <gtest/gtest.h>

#include "base/error_kind.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

// Roles as lines, and thoughts between the marks that templates of today have.
constexpr const char* kTemplate =
    "{% for m in messages %}{{ m.role }}: {{ m.content.split('</think>')[-1] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}";

// The bundled model was not taught to talk; what is tested here does not depend on what it says.
class Chat : public testing::Test {
 protected:
  Chat()
      : machine(chosen_isa(), 2),
        model(SourceModel::open(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tale-4M")),
        decoder(model, exact_options(), machine),
        chat_template(open_template()) {}

  ModelTemplate open_template() {
    std::ofstream(scratch / "lines.jinja") << kTemplate;
    return ModelTemplate::open(model, (scratch / "lines.jinja").string(), false);
  }
  static Conversation asking(std::initializer_list<const char*> texts) {
    Conversation conversation;
    const char* role = "user";
    for (const char* const text : texts) {
      conversation.messages.push_back(Json{{"role", role}, {"content", text}});
      role = std::string_view(role) == "user" ? "assistant" : "user";
    }
    return conversation;
  }

  ScratchDirectory scratch;
  Machine machine;
  SourceModel model;
  Decoder decoder;
  ModelTemplate chat_template;
  const GenerateOptions options = {.max_tokens = 12, .ignore_end = true};
};

TEST_F(Chat, AnswersAreThoseOfTheRenderedText) {
  ChatSession chat(decoder, model.tokenizer(), chat_template, 256);
  const Conversation conversation = asking({"Once upon a time"});
  std::string streamed;
  const ChatAnswer answer =
      chat.answer(chat.prompt(conversation), options, [&](bool is_reasoning, std::string_view text) {
        EXPECT_FALSE(is_reasoning);
        streamed += text;
        return true;
      });
  const std::vector<std::int32_t> ids = model.tokenizer().encode("user: Once upon a time\nassistant:", kRenderedText);
  const Generated made = generate(decoder, model.tokenizer(), ids, options, {});
  EXPECT_EQ(answer.text, made.text);
  EXPECT_EQ(streamed, made.text);
  EXPECT_EQ(answer.prompt_tokens, ids.size());
  EXPECT_EQ(chat.prompt(conversation).ids.size(), ids.size());
  EXPECT_EQ(answer.kept_tokens, 0U);
  EXPECT_EQ(answer.new_tokens, 12U);
}

TEST_F(Chat, WhatWasReadIsNotReadAgainAndChangesNothing) {
  ChatSession chat(decoder, model.tokenizer(), chat_template, 512);
  Conversation conversation = asking({"Tom had a red ball."});
  const ChatAnswer first = chat.answer(chat.prompt(conversation), options, {});
  conversation.messages.push_back(message_of(first));
  conversation.messages.push_back(Json{{"role", "user"}, {"content", "What then?"}});
  const ChatAnswer second = chat.answer(chat.prompt(conversation), options, {});
  EXPECT_GE(second.kept_tokens, first.prompt_tokens);
  ChatSession fresh(decoder, model.tokenizer(), chat_template, 512);
  const ChatAnswer alone = fresh.answer(fresh.prompt(conversation), options, {});
  EXPECT_EQ(alone.kept_tokens, 0U);
  EXPECT_EQ(second.text, alone.text);
  // Another question after the same beginning.
  conversation.messages.back()["content"] = "Who came?";
  EXPECT_GE(chat.answer(chat.prompt(conversation), options, {}).kept_tokens, first.prompt_tokens);
  EXPECT_EQ(chat.answer(chat.prompt(conversation), options, {}).kept_tokens, chat.prompt(conversation).ids.size() - 1);
  chat.clear();
  EXPECT_EQ(chat.held_tokens(), 0U);
  EXPECT_EQ(chat.answer(chat.prompt(conversation), options, {}).kept_tokens, 0U);
}

// A recurrent state cannot be cut short: what two conversations have in common is read from the last point before its
// end.
TEST_F(Chat, ARecurrentNetworkGoesOnFromTheLastPromptsEnd) {
  EditableModel recurrent = EditableModel::read(data_directory() / "tiny_qwen35");
  const std::uint64_t vocabulary = model.config().vocab_size;
  EditableModel::Stored& embedding = recurrent.tensors.at("model.embed_tokens.weight");
  const std::size_t row = embedding.bytes.size() / embedding.shape[0];
  while (embedding.bytes.size() < vocabulary * row) embedding.bytes += embedding.bytes;
  embedding.bytes.resize(vocabulary * row);
  recurrent.config["vocab_size"] = embedding.shape[0] = vocabulary;
  recurrent.write(scratch / "recurrent");
  Decoder own(SourceModel::open(scratch / "recurrent"), exact_options(), machine);
  ChatSession chat(own, model.tokenizer(), chat_template, 512);
  Conversation conversation =
      asking({"Tom had a red ball. He threw it over the wall, and then he went to look for it "
              "with his dog, who was very old and could not see the ball."});
  const ChatAnswer first = chat.answer(chat.prompt(conversation), options, {});
  EXPECT_GT(first.prompt_tokens, 32u);
  // Other words in place of the answer that was given.
  conversation.messages.push_back(Json{{"role", "assistant"}, {"content", "He found it."}});
  conversation.messages.push_back(Json{{"role", "user"}, {"content", "What then?"}});
  const ChatAnswer second = chat.answer(chat.prompt(conversation), options, {});
  EXPECT_EQ(second.kept_tokens, first.prompt_tokens - 32);
  ChatSession fresh(own, model.tokenizer(), chat_template, 512);
  EXPECT_EQ(second.text, fresh.answer(fresh.prompt(conversation), options, {}).text);
  // Nothing in common.
  const Conversation other = asking({"A cat sat on a mat."});
  EXPECT_EQ(chat.answer(chat.prompt(other), options, {}).kept_tokens, 0u);
  EXPECT_EQ(chat.answer(chat.prompt(other), options, {}).text, fresh.answer(fresh.prompt(other), options, {}).text);
}

TEST_F(Chat, AStopKeepsWhatWasSaid) {
  ChatSession chat(decoder, model.tokenizer(), chat_template, 256);
  int calls = 0;
  const ChatAnswer answer =
      chat.answer(chat.prompt(asking({"Once"})), options, [&](bool, std::string_view) { return ++calls < 4; });
  EXPECT_EQ(answer.reason, StopReason::caller);
  EXPECT_LT(answer.new_tokens, 12U);
  const ChatAnswer whole = chat.answer(chat.prompt(asking({"Once"})), options, {});
  EXPECT_TRUE(whole.text.starts_with(answer.text)) << answer.text;
}

TEST_F(Chat, AStopWhileReadingLeavesItUsable) {
  ChatSession chat(decoder, model.tokenizer(), chat_template, 256);
  GenerateOptions stopping = options;
  stopping.progress = [](const Progress&) { return false; };
  EXPECT_EQ(kind_of([&] { chat.answer(chat.prompt(asking({"Once"})), stopping, {}); }), ErrorKind::cancelled);
  ChatSession fresh(decoder, model.tokenizer(), chat_template, 256);
  EXPECT_EQ(chat.answer(chat.prompt(asking({"Once"})), options, {}).text,
            fresh.answer(fresh.prompt(asking({"Once"})), options, {}).text);
}

TEST_F(Chat, TooLongAConversationIsRefusedWithBothCounts) {
  ChatSession chat(decoder, model.tokenizer(), chat_template, 16);
  const std::string message =
      error_of([&] {
        chat.answer(
            chat.prompt(asking({"Once upon a time there was a little girl who had a very long name and a short dog."})),
            options, {});
      }).second;
  EXPECT_NE(message.find("context 16"), std::string::npos) << message;
}

TEST_F(Chat, AnswersEndWhereTheContextDoes) {
  ChatSession chat(decoder, model.tokenizer(), chat_template, 24);
  GenerateOptions long_answer = options;
  long_answer.max_tokens = 1000;
  EXPECT_EQ(chat.answer(chat.prompt(asking({"Once"})), long_answer, {}).reason, StopReason::context_full);
}

TEST_F(Chat, MessagesHaveThoughtsApart) {
  ChatAnswer answer;
  answer.text = "Yes.";
  EXPECT_FALSE(message_of(answer).contains("reasoning_content"));
  answer.reasoning = "Hm.";
  EXPECT_EQ(message_of(answer)["reasoning_content"], "Hm.");
}

TEST_F(Chat, WithoutATemplateThereIsNone) {
  const std::string message = error_of([&] { ModelTemplate::open(model, "", false); }).second;
  EXPECT_NE(message.find("has no chat template"), std::string::npos) << message;
  EXPECT_EQ(kind_of([&] { ModelTemplate::open(model, "nowhere.jinja", false); }), ErrorKind::not_found);
}

}  // namespace
}  // namespace nibble
