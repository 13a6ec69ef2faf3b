// SPDX-License-Identifier: Apache-2.0
#include "model/chat/conversation_file.h"

#include <gtest/gtest.h>

#include "nibble/error.h"

namespace nibble {
namespace {

std::string refusal(std::string_view text) {
  try {
    read_conversations(text, "chats.jsonl");
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(ConversationFile, JsonLines) {
  const auto read = read_conversations(
      "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [{\"name\": \"t\"}]}\n\n"
      "[{\"role\": \"user\", \"content\": \"b\"}, {\"role\": \"assistant\", \"content\": \"c\"}]\r\n"
      "{\"conversations\": [{\"from\": \"human\", \"value\": \"d\"}, {\"from\": \"gpt\", \"value\": \"e\"}]}",
      "chats.jsonl");
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read[0].tools.size(), 1U);
  EXPECT_EQ(read[1].messages[1]["content"], "c");
  EXPECT_EQ(read[2].messages[0]["role"], "user");
  EXPECT_EQ(read[2].messages[1]["role"], "assistant");
  EXPECT_EQ(read[2].messages[1]["content"], "e");
}

TEST(ConversationFile, OneJsonText) {
  EXPECT_EQ(read_conversations("{\n \"messages\": [\n {\"role\": \"user\", \"content\": \"a\"}]}\n", "x").size(), 1U);
  EXPECT_EQ(read_conversations("\xef\xbb\xbf[{\"role\": \"user\", \"content\": \"a\"}]", "x").size(), 1U);
  EXPECT_EQ(read_conversations("[{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]},\n"
                               "{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}]",
                               "x")
                .size(),
            2U);
  EXPECT_EQ(read_conversations("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}],"
                               "\"chat_template_kwargs\": {\"enable_thinking\": false}}",
                               "x")[0]
                .variables["enable_thinking"],
            false);
}

TEST(ConversationFile, ErrorsNameThePlace) {
  EXPECT_EQ(refusal("{\"messages\": [{\"role\": \"user\"}]}\n{\"text\": \"a\"}\n"),
            "chats.jsonl: line 2: has no \"messages\"");
  EXPECT_EQ(refusal("{\"messages\": [3]}"),
            "chats.jsonl: line 1: a message is no object with \"role\" and \"content\"");
  EXPECT_EQ(refusal("{\"messages\": []}"), "chats.jsonl: line 1: \"messages\" is no list of messages");
  EXPECT_EQ(refusal("{\"messages\": [{\"content\": \"a\"}]}"), "chats.jsonl: line 1: a message has no \"role\"");
  EXPECT_EQ(refusal("[{\"role\": 5, \"content\": \"a\"}]"), "chats.jsonl: line 1: a message's \"role\" is no text");
  EXPECT_EQ(refusal("[{\"messages\": [{\"role\": \"u\"}]},\n{}]"), "chats.jsonl: conversation 2: has no \"messages\"");
  EXPECT_NE(refusal("{\"messages\": [{\"role\": \"u\"}]}\n{oops}\n").find("chats.jsonl: line 2"), std::string::npos);
  EXPECT_NE(refusal("not json"), "none");
  EXPECT_NE(refusal(""), "none");
  EXPECT_EQ(refusal("3\n"),
            "chats.jsonl: line 1: is neither a conversation (\"messages\": [...]) nor a list of messages");
}

}  // namespace
}  // namespace nibble
