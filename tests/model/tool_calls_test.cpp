// SPDX-License-Identifier: Apache-2.0
#include "model/chat/tool_calls.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;
using Kind = ToolCallPart::Kind;

// What a text has, however it is cut: "text|name(arguments)name(arguments)".
std::string taken_apart(const ToolCallForm& form, std::string_view text, std::size_t size) {
  ToolCallStream stream(form, {"get", "put", "f", "g"});
  std::string said, calls;
  const auto add = [&](const std::vector<ToolCallPart>& parts) {
    for (const ToolCallPart& part : parts) {
      if (part.kind == Kind::text) said += part.text;
      if (part.kind == Kind::name) calls += (calls.empty() ? "" : ")") + part.text + "(";
      if (part.kind == Kind::arguments) calls += part.text;
    }
  };
  for (std::size_t i = 0; i < text.size(); i += size) add(stream.push(text.substr(i, size)));
  add(stream.finish());
  return said + "|" + calls + (calls.empty() ? "" : ")");
}

void expect_apart(const ToolCallForm& form, std::string_view text, std::string_view expected) {
  for (const std::size_t size : {1, 2, 3, 5, 8, 1000}) EXPECT_EQ(taken_apart(form, text, size), expected) << size;
}

constexpr const char* kQwen =
    R"({%- if tools %}# Tools {{ tools }}{% endif %}{{- '<tool_call>\n{"name": "' }}{{- tool_call.name }})";
constexpr const char* kLlama =
    R"({%- if tools %}{{- '{"name": "' + tool_call.name + '", ' }}{{- '"parameters": ' }}{{- tool_call.arguments }})";

TEST(ToolCalls, FormsAreKnownByTheTemplate) {
  EXPECT_EQ(tool_call_form(kQwen).name, "hermes");
  EXPECT_EQ(tool_call_form(kLlama).name, "llama3");
  EXPECT_EQ(tool_call_form("{% if tools %}{{ '[AVAILABLE_TOOLS]' }}[TOOL_CALLS] [").name, "mistral");
  EXPECT_EQ(tool_call_form("[TOOL_CALLS] [").begin, "[TOOL_CALLS] [");
  EXPECT_EQ(tool_call_form("[TOOL_CALLS][").begin, "[TOOL_CALLS][");
  EXPECT_EQ(tool_call_form("[TOOL_CALLS]{{ name }}[ARGS]{{ arguments }}").name, "mistral_args");
  EXPECT_EQ(tool_call_form("{% for m in messages %}{{ m.content }}{% endfor %}").name, "plain");
  EXPECT_FALSE(tool_call_form("{{ messages }}").is_told_by_template);
}

TEST(ToolCalls, AreTakenApartHoweverTheyAreCut) {
  const ToolCallForm hermes = tool_call_form(kQwen);
  expect_apart(hermes,
               "Let me see.\n\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": \"}\\\"{\", \"b\": [{}]}}\n"
               "</tool_call>\n<tool_call>\n{\"name\": \"put\", \"arguments\": {}}\n</tool_call>",
               R"(Let me see.|get({"a": "}\"{", "b": [{}]})put({}))");
  expect_apart(tool_call_form(kLlama), "\n{\"name\": \"f\", \"parameters\": {\"x\": {\"y\": 1}}}",
               R"(|f({"x": {"y": 1}}))");
  expect_apart(tool_call_form("[TOOL_CALLS] ["),
               "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {\"a\": 1}}]",
               R"(|f({})g({"a": 1}))");
  expect_apart(tool_call_form("[TOOL_CALLS][ARGS]"), "Yes. [TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}",
               R"(Yes.|f({"a": 1})g({}))");
}

TEST(ToolCalls, WhatIsNoneIsText) {
  const ToolCallForm hermes = tool_call_form(kQwen), llama = tool_call_form(kLlama);
  expect_apart(hermes, " a <tool> b <tool_ca", " a <tool> b <tool_ca|");
  expect_apart(hermes, "ends in blanks \n ", "ends in blanks \n |");
  expect_apart(hermes, "", "|");
  expect_apart(llama, "See {\"name\": \"f\", \"parameters\": {}}", "See {\"name\": \"f\", \"parameters\": {}}|");
  expect_apart(llama, "{\"nam", "{\"nam|");
  expect_apart(llama, "{\"year\": 1}", "{\"year\": 1}|");
  // What opens like a call and is of no tool, or has no arguments.
  expect_apart(llama, "{\"name\": \"Bob\", \"age\": 3}", "{\"name\": \"Bob\", \"age\": 3}|");
  expect_apart(llama, " {\"name\": \"f\", \"age\": 3}", " {\"name\": \"f\", \"age\": 3}|");
  expect_apart(llama, "{\"name\": \"f\", \"parameters\": 3}", "{\"name\": \"f\", \"parameters\": 3}|");
  expect_apart(llama, "{\"name\": \"f", "{\"name\": \"f|");
  expect_apart(hermes, "a <tool_call> b", "a <tool_call> b|");
  ToolCallForm whole = hermes;
  whole.opens_text = true;
  expect_apart(whole, "{\"doc\": \"<tool_call>\n{\"", "{\"doc\": \"<tool_call>\n{\"|");
}

// What a limit has cut: no markup comes as text.
TEST(ToolCalls, MayBeCut) {
  const ToolCallForm hermes = tool_call_form(kQwen);
  expect_apart(hermes, "<tool_call>\n{\"name\": \"ge", "|");
  expect_apart(hermes, "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": [1", R"(|get({"a": [1))");
  expect_apart(hermes, "<tool_call>\n{\"name\": \"get\", \"arguments\": {}}\n</tool_c", "|get({})");
}

TEST(ToolCalls, AreWholeWhereTheirArgumentsAre) {
  ToolCallStream stream(tool_call_form(kQwen), {"f"});
  EXPECT_FALSE(stream.has_whole_calls());
  stream.push("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": {}");
  EXPECT_FALSE(stream.has_whole_calls());
  stream.push("}");
  EXPECT_TRUE(stream.has_whole_calls());
  stream.push("}\n</tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {");
  EXPECT_FALSE(stream.has_whole_calls());
}

TEST(ToolCalls, AreToldAsTextWhereTheTemplateKnowsNoTools) {
  Conversation conversation;
  conversation.tools = Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])");
  conversation.messages = Json::parse(R"([{"role": "user", "content": "1?"},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}},
      {"id": "b", "function": {"name": "g", "arguments": "no JSON"}}]},
    {"role": "tool", "tool_call_id": "a", "content": "one"}, {"role": "tool", "tool_call_id": "b", "content": "two"},
    {"role": "user", "content": "2?"}])");
  Conversation with_system = conversation;
  const Json system = {{"role", "system"}, {"content", "Be brief."}};
  with_system.messages.insert(with_system.messages.begin(), system);
  tell_tools_as_text(conversation);
  EXPECT_TRUE(conversation.tools.is_null());
  const Json& told = conversation.messages;
  ASSERT_EQ(told.size(), 5u);
  EXPECT_EQ(told[0]["role"], "system");
  EXPECT_NE(told[0]["content"].get<std::string>().find("{\"name\":\"f\",\"parameters\":{}}\n</tools>"),
            std::string::npos);
  EXPECT_EQ(told[2]["content"],
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\":1}}\n</tool_call>\n"
            "<tool_call>\n{\"name\": \"g\", \"arguments\": no JSON}\n</tool_call>");
  EXPECT_FALSE(told[2].contains("tool_calls"));
  EXPECT_EQ(told[3], Json::parse(R"({"role": "user", "content":
      "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>"})"));
  EXPECT_EQ(told[4]["content"], "2?");
  Conversation without = with_system;
  without.tools = nullptr;
  tell_tools_as_text(without);
  EXPECT_EQ(without.messages[0]["content"], "Be brief.");
  EXPECT_EQ(without.messages[3], told[3]);
  tell_tools_as_text(with_system);
  ASSERT_EQ(with_system.messages.size(), 5u);
  EXPECT_TRUE(with_system.messages[0]["content"].get<std::string>().starts_with("Be brief.\n\nYou can call"));
}

}  // namespace
}  // namespace nibble
