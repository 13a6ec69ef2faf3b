// SPDX-License-Identifier: Apache-2.0
#include "model/chat/named_templates.h"

#include <gtest/gtest.h>

#include "nibble/error.h"

namespace nibble {
namespace {

TEST(NamedTemplates, OfAConfigurationAreOneOrSeveral) {
  const auto one = chat_templates_of_config(R"({"chat_template": "a"})", "c.json");
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].name, "default");
  EXPECT_EQ(one[0].text, "a");
  EXPECT_EQ(one[0].source, "c.json: chat_template");
  EXPECT_TRUE(chat_templates_of_config(R"({"chat_template": null})", "c.json").empty());
  EXPECT_TRUE(chat_templates_of_config("{}", "c.json").empty());
  const auto several = chat_templates_of_config(
      R"({"chat_template": [{"name": "default", "template": "a"}, {"name": "rag", "template": "b"}]})", "c.json");
  ASSERT_EQ(several.size(), 2U);
  EXPECT_EQ(several[1].text, "b");
  EXPECT_THROW(chat_templates_of_config(R"({"chat_template": 1})", "c.json"), Error);
  EXPECT_THROW(chat_templates_of_config(R"({"chat_template": [{"name": "default"}]})", "c.json"), Error);
}

TEST(NamedTemplates, OfGgufHaveKeysOfTheirOwn) {
  GgufMetadata metadata;
  EXPECT_TRUE(chat_templates_of_gguf(metadata, "m.gguf").empty());
  metadata.set("tokenizer.chat_template", GgufValue::of_string("a"));
  metadata.set("tokenizer.chat_template.tool_use", GgufValue::of_string("b"));
  metadata.set("tokenizer.chat_templates", GgufValue::of_strings({"tool_use", "gone"}));
  const auto templates = chat_templates_of_gguf(metadata, "m.gguf");
  ASSERT_EQ(templates.size(), 2U);
  EXPECT_EQ(templates[0].text, "a");
  EXPECT_EQ(templates[1].name, "tool_use");
  EXPECT_EQ(templates[1].source, "m.gguf: tokenizer.chat_template.tool_use");
}

TEST(NamedTemplates, AreChosenByNameOrByTools) {
  const std::vector<NamedTemplate> templates = {{"default", "a", ""}, {"tool_use", "b", ""}, {"rag", "c", ""}};
  EXPECT_EQ(choose_chat_template(templates, "", false).text, "a");
  EXPECT_EQ(choose_chat_template(templates, "", true).text, "b");
  EXPECT_EQ(choose_chat_template(templates, "rag", true).text, "c");
  EXPECT_EQ(choose_chat_template({{"default", "a", ""}}, "", true).text, "a");
  try {
    choose_chat_template(templates, "other", false);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_STREQ(
        error.what(),
        "the model has no chat template named 'other', and there is no such file; it has 'default', 'tool_use', 'rag'");
  }
  EXPECT_THROW(choose_chat_template({}, "", false), Error);
}

}  // namespace
}  // namespace nibble
