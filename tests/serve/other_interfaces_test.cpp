// SPDX-License-Identifier: Apache-2.0
//
// The same answers in the words of Anthropic's interface, and of OpenAI's responses.
#include <gtest/gtest.h>

#include "serve/served_api.h"

namespace nibble::serve {
namespace {

class Interfaces : public Api {
 protected:
  std::string expected(std::size_t tokens) {
    const std::vector<std::int32_t> ids = tokenizer.encode("user: Once upon a time\nassistant:", kRenderedText);
    return generate(decoder, tokenizer, ids, {.max_tokens = tokens}, {}).text;
  }
  static std::vector<std::string> types_of(const std::vector<Json>& events) {
    std::vector<std::string> types;
    for (const Json& event : events)
      if (const std::string type = event["type"]; types.empty() || types.back() != type) types.push_back(type);
    return types;
  }
};

Json asking(const char* text) { return {{{"role", "user"}, {"content", text}}}; }

TEST_F(Interfaces, MessagesAreAnsweredWholeAndAsAStreamAlike) {
  start();
  Json body = {{"model", "tale"}, {"max_tokens", 9}, {"temperature", 0}};
  body["messages"].push_back({{"role", "user"}, {"content", "Once upon a time"}});
  const Json whole = json(post("/v1/messages", body));
  EXPECT_TRUE(whole["id"].get<std::string>().starts_with("msg_"));
  EXPECT_EQ(whole["type"], "message");
  EXPECT_EQ(whole["role"], "assistant");
  ASSERT_EQ(whole["content"].size(), 1u);
  EXPECT_EQ(whole["content"][0]["type"], "text");
  EXPECT_EQ(whole["content"][0]["text"], expected(9));
  EXPECT_EQ(whole["stop_reason"], "max_tokens");
  EXPECT_TRUE(whole["stop_sequence"].is_null());
  EXPECT_EQ(whole["usage"]["output_tokens"], 9);
  const std::size_t read = whole["usage"]["input_tokens"];
  EXPECT_EQ(json(post("/v1/messages/count_tokens", body))["input_tokens"], read);

  body["stream"] = true;
  const std::vector<Json> found = events(post("/v1/messages", body).body);
  EXPECT_EQ(types_of(found), (std::vector<std::string>{"message_start", "content_block_start", "content_block_delta",
                                                       "content_block_stop", "message_delta", "message_stop"}));
  std::string text;
  for (const Json& event : found)
    if (event["type"] == "content_block_delta") text += event["delta"]["text"].get<std::string>();
  EXPECT_EQ(text, expected(9));
  const Json& last = found[found.size() - 2];
  EXPECT_EQ(last["delta"]["stop_reason"], "max_tokens");
  EXPECT_EQ(last["usage"]["cache_read_input_tokens"], read - 1);
  EXPECT_EQ(last["usage"]["input_tokens"], 1);

  body["stream"] = false;
  body["max_tokens"] = 60;
  const std::string stop = expected(9).substr(5, 4);
  body["stop_sequences"] = {"\x01", stop};
  const Json stopped = json(post("/v1/messages", body));
  EXPECT_EQ(stopped["stop_reason"], "stop_sequence");
  EXPECT_EQ(stopped["stop_sequence"], stop);
}

TEST_F(Interfaces, MessagesOfBlocksAreReadAndRefusedByName) {
  start();
  Json body = Json::parse(R"({"max_tokens": 2, "system": [{"type": "text", "text": "Be brief."}], "messages": [
      {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
      {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "9"}]}]})");
  json(post("/v1/messages", body));
  const std::vector<std::int32_t> ids = tokenizer.encode(
      "system: Be brief.\nuser: One\ntwo\nassistant: <tool_call>\n{\"name\": \"f\", \"arguments\": "
      "{\"a\":1}}\n</tool_call>\nuser: <tool_response>\n9\n</tool_response>\nassistant:",
      kRenderedText);
  EXPECT_EQ(json(post("/v1/messages/count_tokens", body))["input_tokens"], ids.size());
  const auto refused = [&](const Json& changes, const char* part) {
    Json changed = body;
    changed.update(changes);
    const Json error = json(post("/v1/messages", changed), 400);
    EXPECT_EQ(error["type"], "error");
    EXPECT_NE(error["error"]["message"].get<std::string>().find(part), std::string::npos) << error;
  };
  refused({{"max_tokens", nullptr}}, "max_tokens is missing");
  refused({{"messages", Json::array()}}, "messages");
  refused({{"messages", Json::array({{{"role", "system"}, {"content", "x"}}})}}, "user or assistant");
  refused({{"tools", Json::array({{{"name", "f"}, {"type", "bash_20250124"}}})}}, "tools[0]");
  refused({{"messages", Json::array({{{"role", "user"}, {"content", Json::array({{{"type", "image"}}})}}})}}, "image");
}

// One field each.
TEST_F(Interfaces, WhatIsNotDoneIsRefusedByNameAndTheRestIsHeeded) {
  start();
  const Json schema = {{"type", "json_schema"}, {"schema", {{"type", "boolean"}}}};
  Json message = {{"max_tokens", 9}, {"temperature", 0}, {"messages", Json::array({asking("Once upon a time")[0]})}};
  Json input = {{"max_output_tokens", 9}, {"temperature", 0}, {"input", "Once upon a time"}};
  // told: what stands in the message; the field's own name where nothing is given.
  const auto refused = [&](const char* path, Json body, const char* name, const Json& value,
                           const char* told = nullptr) {
    body[name] = value;
    const std::string why = json(post(path, body), 400)["error"]["message"];
    EXPECT_NE(why.find(told == nullptr ? name : told), std::string::npos) << why;
  };
  refused("/v1/messages", message, "output_config", {{"format", schema}}, "format is not supported");
  refused("/v1/messages", message, "mirostat", 2);
  refused("/v1/messages", message, "n", 2);
  const Json begun = Json::parse(R"([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}])");
  refused("/v1/messages", message, "messages", begun, "messages[1]");
  refused("/v1/messages", message, "top_logprobs", 2);
  refused("/v1/messages", message, "stop_token_ids", {5});
  refused("/v1/responses", input, "mirostat", 2);
  refused("/v1/responses", input, "text", {{"verbosity", "low"}}, "verbosity");
  refused("/v1/responses", input, "top_logprobs", 2);
  refused("/v1/responses", input, "include", {"message.output_text.logprobs"});
  input["include"] = {"reasoning.encrypted_content"};
  input["text"] = {{"verbosity", "medium"}};
  message["grammar"] = input["grammar"] = "root ::= \"yes\"";
  EXPECT_EQ(json(post("/v1/messages", message))["content"][0]["text"], "yes");
  EXPECT_EQ(json(post("/v1/responses", input))["output"][0]["content"][0]["text"], "yes");
}

TEST_F(Interfaces, ResponsesAreAnsweredWholeAndAsAStreamAlike) {
  start();
  Json body = {{"model", "tale"}, {"max_output_tokens", 9}, {"temperature", 0}, {"input", "Once upon a time"}};
  const Json whole = json(post("/v1/responses", body));
  EXPECT_EQ(whole["object"], "response");
  EXPECT_EQ(whole["status"], "incomplete");
  EXPECT_EQ(whole["incomplete_details"]["reason"], "max_output_tokens");
  ASSERT_EQ(whole["output"].size(), 1u);
  EXPECT_EQ(whole["output"][0]["type"], "message");
  EXPECT_EQ(whole["output"][0]["content"][0]["text"], expected(9));
  EXPECT_EQ(whole["usage"]["output_tokens"], 9);
  EXPECT_EQ(whole["max_output_tokens"], 9);

  body["stream"] = true;
  body["input"] = asking("Once upon a time");
  const std::vector<Json> found = events(post("/v1/responses", body).body);
  EXPECT_EQ(types_of(found),
            (std::vector<std::string>{"response.created", "response.in_progress", "response.output_item.added",
                                      "response.content_part.added", "response.output_text.delta",
                                      "response.output_text.done", "response.content_part.done",
                                      "response.output_item.done", "response.incomplete"}));
  std::string text;
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i]["sequence_number"], i);
    if (found[i]["type"] == "response.output_text.delta") text += found[i]["delta"].get<std::string>();
  }
  EXPECT_EQ(text, expected(9));
  EXPECT_EQ(found.back()["response"]["output"][0]["content"], whole["output"][0]["content"]);

  body["previous_response_id"] = "resp_1";
  EXPECT_NE(json(post("/v1/responses", body), 400)["error"]["message"].get<std::string>().find("previous_response_id"),
            std::string::npos);
  json(post("/v1/responses", {{"input", Json::array()}}), 400);
  json(post("/v1/responses", {{"input", {{{"type", "computer_call"}}}}}), 400);
}

}  // namespace
}  // namespace nibble::serve
