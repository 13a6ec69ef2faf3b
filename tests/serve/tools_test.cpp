// SPDX-License-Identifier: Apache-2.0
//
// Tools that a model calls, on all interfaces and in every form that templates know. The model that is asked knows
// nothing of tools: what it is held to is what makes its calls.
#include <gtest/gtest.h>

#include "serve/api/cut_object.h"
#include "serve/served_api.h"

namespace nibble::serve {
namespace {

class Tools : public Api {
 protected:
  // Has what a form is known by, and tells of tools.
  void use_template(const std::string& marks) {
    std::ofstream(scratch / "tools.jinja")
        << "{# " << marks << " #}{% if tools %}{% for t in tools %}{{ t.function.name }};{% endfor %}{% endif %}"
        << "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.tool_calls %}"
        << "{{ m.tool_calls[0].function.arguments | tojson }}{% endif %}{{ '\\n' }}{% endfor %}assistant:";
    chat_template.emplace(ModelTemplate::open(model, (scratch / "tools.jinja").string(), false));
  }
  void SetUp() override {
    Api::SetUp();
    facts.context = 512;
  }
  static Json weather() {
    return Json::parse(R"({"type": "object", "required": ["city", "days"], "properties": {
        "city": {"type": "string", "enum": ["Paris", "Rome"]}, "days": {"type": "integer"}}})");
  }
  static Json function(const char* name, Json parameters) {
    return {{"type", "function"},
            {"function", {{"name", name}, {"description", "d"}, {"parameters", std::move(parameters)}}}};
  }
  static Json asking(const char* choice = "required") {
    Json body = {{"max_tokens", 200}, {"temperature", 0}, {"tool_choice", choice}, {"parallel_tool_calls", false}};
    body["messages"].push_back({{"role", "user"}, {"content", "Will it rain?"}});
    body["tools"] = Json::array({function("get_weather", weather())});
    return body;
  }
  static void expect_weather(const Json& arguments) {
    EXPECT_EQ(arguments.size(), 2u);
    EXPECT_TRUE(arguments.value("city", Json()) == "Paris" || arguments.value("city", Json()) == "Rome") << arguments;
    EXPECT_TRUE(arguments.value("days", Json()).is_number_integer()) << arguments;
  }
  std::string rendered(const Json& body) { return json(post("/apply-template", body))["prompt"]; }
  std::string refusal(const char* path, const Json& body) {
    return json(post(path, body), 400)["error"]["message"].get<std::string>();
  }
};

TEST_F(Tools, AreCalledInEveryForm) {
  for (const char* const marks :
       {"nothing", "<tool_call>", R"("parameters": )", "[TOOL_CALLS] [", "[TOOL_CALLS][ARGS]"}) {
    if (server) server->stop(std::chrono::milliseconds(0));
    server.reset();
    api.reset();
    use_template(marks);
    start();
    const Json whole = json(post("/v1/chat/completions", asking()));
    const Json& choice = whole["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "tool_calls") << marks;
    EXPECT_TRUE(choice["message"]["content"].is_null());
    ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u) << marks;
    const Json& call = choice["message"]["tool_calls"][0];
    EXPECT_EQ(call["type"], "function");
    EXPECT_EQ(call["id"].get<std::string>().size(), 9u);
    EXPECT_EQ(call["function"]["name"], "get_weather");
    expect_weather(Json::parse(call["function"]["arguments"].get<std::string>()));
  }
}

TEST_F(Tools, AChatsCallsComeAsAStreamAlike) {
  use_template("<tool_call>");
  start();
  Json body = asking();
  const Json whole = json(post("/v1/chat/completions", body))["choices"][0]["message"]["tool_calls"][0]["function"];
  body["stream"] = true;
  std::string name, arguments;
  std::vector<std::string> ends;
  std::size_t begun = 0;
  for (const Json& one : events(post("/v1/chat/completions", body).body)) {
    if (!one.is_object()) continue;
    const Json& choice = one["choices"][0];
    if (!choice["finish_reason"].is_null()) ends.push_back(choice["finish_reason"]);
    EXPECT_EQ(choice["delta"].value("content", ""), "");
    if (!choice["delta"].contains("tool_calls")) continue;
    const Json& call = choice["delta"]["tool_calls"][0];
    EXPECT_EQ(call["index"], 0);
    if (call.contains("id")) {
      ++begun;
      EXPECT_EQ(call["type"], "function");
      name = call["function"]["name"];
    }
    arguments += call["function"]["arguments"].get<std::string>();
  }
  EXPECT_EQ(begun, 1u);
  EXPECT_EQ(whole["name"], name);
  EXPECT_EQ(whole["arguments"], arguments);
  EXPECT_EQ(ends, std::vector<std::string>{"tool_calls"});
}

TEST_F(Tools, MessagesHaveThemAsBlocks) {
  use_template("<tool_call>");
  start();
  Json body = {{"max_tokens", 200}, {"temperature", 0}, {"tool_choice", {{"type", "any"}}}};
  body["tool_choice"]["disable_parallel_tool_use"] = true;
  body["messages"].push_back({{"role", "user"}, {"content", "Will it rain?"}});
  body["tools"].push_back({{"name", "get_weather"}, {"description", "d"}, {"input_schema", weather()}});
  const Json whole = json(post("/v1/messages", body));
  EXPECT_EQ(whole["stop_reason"], "tool_use");
  ASSERT_EQ(whole["content"].size(), 1u);
  EXPECT_EQ(whole["content"][0]["type"], "tool_use");
  EXPECT_EQ(whole["content"][0]["name"], "get_weather");
  expect_weather(whole["content"][0]["input"]);
  body["stream"] = true;
  std::string input, reason;
  for (const Json& event : events(post("/v1/messages", body).body)) {
    if (event["type"] == "content_block_start") {
      EXPECT_EQ(event["content_block"]["type"], "tool_use");
      EXPECT_EQ(event["content_block"]["input"], Json::object());
    }
    if (event["type"] == "content_block_delta") {
      EXPECT_EQ(event["delta"]["type"], "input_json_delta");
      input += event["delta"]["partial_json"].get<std::string>();
    }
    if (event["type"] == "message_delta") reason = event["delta"]["stop_reason"];
  }
  EXPECT_EQ(Json::parse(input), whole["content"][0]["input"]);
  EXPECT_EQ(reason, "tool_use");

  // What came of it goes back by the call's id, and the same tools are counted.
  const std::size_t read = whole["usage"]["input_tokens"];
  body["messages"].push_back({{"role", "assistant"}, {"content", whole["content"]}});
  Json result = {{"type", "tool_result"}, {"tool_use_id", whole["content"][0]["id"]}, {"content", "No."}};
  body["messages"].push_back({{"role", "user"}, {"content", Json::array({result})}});
  EXPECT_GT(json(post("/v1/messages/count_tokens", body))["input_tokens"], read);
  body["tool_choice"] = {{"type", "none"}};
  body["stream"] = false;
  EXPECT_EQ(json(post("/v1/messages", body))["content"][0]["type"], "text");
}

TEST_F(Tools, ResponsesHaveThemAsItems) {
  use_template("<tool_call>");
  start();
  Json tool = {{"type", "function"}, {"name", "get_weather"}, {"parameters", weather()}, {"strict", true}};
  Json body = {{"max_output_tokens", 200}, {"temperature", 0}, {"input", "Will it rain?"}, {"tool_choice", "required"}};
  body["parallel_tool_calls"] = false;
  body["tools"].push_back(tool);
  const Json whole = json(post("/v1/responses", body));
  ASSERT_EQ(whole["output"].size(), 1u);
  const Json& call = whole["output"][0];
  EXPECT_EQ(call["type"], "function_call");
  EXPECT_EQ(call["name"], "get_weather");
  expect_weather(Json::parse(call["arguments"].get<std::string>()));
  EXPECT_EQ(whole["tools"], body["tools"]);
  EXPECT_EQ(whole["status"], "completed");
  body["stream"] = true;
  std::string arguments;
  std::vector<std::string> types;
  for (const Json& event : events(post("/v1/responses", body).body)) {
    const std::string type = event["type"];
    if (types.empty() || types.back() != type) types.push_back(type);
    if (type == "response.function_call_arguments.delta") arguments += event["delta"].get<std::string>();
  }
  EXPECT_EQ(call["arguments"], arguments);
  EXPECT_EQ(types,
            (std::vector<std::string>{"response.created", "response.in_progress", "response.output_item.added",
                                      "response.function_call_arguments.delta", "response.function_call_arguments.done",
                                      "response.output_item.done", "response.completed"}));
  body["stream"] = false;
  body["tool_choice"] = "none";
  body["input"] = Json::array({{{"role", "user"}, {"content", "Will it rain?"}}, call});
  body["input"].push_back({{"type", "function_call_output"}, {"call_id", call["call_id"]}, {"output", "No."}});
  EXPECT_EQ(json(post("/v1/responses", body))["output"][0]["type"], "message");
}

TEST_F(Tools, WhichAndHowManyAreAskedFor) {
  use_template("<tool_call>");
  start();
  Json body = asking();
  body["tools"].push_back(function("other", Json::parse(R"({"type": "object", "properties": {}})")));
  body["tool_choice"] = {{"type", "function"}, {"function", {{"name", "other"}}}};
  const Json named = json(post("/v1/chat/completions", body))["choices"][0]["message"]["tool_calls"];
  ASSERT_EQ(named.size(), 1u);
  EXPECT_EQ(named[0]["function"]["name"], "other");
  EXPECT_TRUE(Json::parse(named[0]["function"]["arguments"].get<std::string>()).is_object());
  // As many as there is room for: what ends them is not among what is chosen.
  body["parallel_tool_calls"] = true;
  body["tool_choice"] = "required";
  body["tools"].erase(0);
  body["logit_bias"] = {{std::to_string(tokenizer.eos().value_or(0)), -100}};
  const Json several = json(post("/v1/chat/completions", body))["choices"][0];
  EXPECT_GE(several["message"]["tool_calls"].size(), 2u);
  EXPECT_NE(several["message"]["tool_calls"][0]["id"], several["message"]["tool_calls"][1]["id"]);
  // A limit wins: what it has cut is not to be carried out.
  body = asking();
  body["max_tokens"] = 30;
  const Json cut = json(post("/v1/chat/completions", body))["choices"][0];
  EXPECT_EQ(cut["finish_reason"], "length");
}

// Of arguments that were cut what is whole is told, and that they were.
TEST_F(Tools, ArgumentsThatALimitHasCutAreThoseThatAreWhole) {
  const std::vector<std::pair<std::string, std::string>> parts = {
      {R"({"a": 1, "b": [2, 3]})", R"({"a": 1, "b": [2, 3]})"},
      {R"({"a": 1, "b": [2, 3)", R"({"a": 1, "b": [2]})"},
      {R"({"a": 1, "b": [2, 3], )", R"({"a": 1, "b": [2, 3]})"},
      {R"({"a": "Par)", R"({})"},
      {R"({"a": "Paris")", R"({"a": "Paris"})"},
      {R"({"a": "x\"y, {", "b": tr)", R"({"a": "x\"y, {"})"},
      {R"({"a": "x\)", R"({})"},
      {R"({"a": 12)", R"({})"},
      {R"({"a": {"b": {"c": "d", "e)", R"({"a": {"b": {"c": "d"}}})"},
      {R"({"a")", R"({})"},
      {R"({"a": [{}, {"b": []}, [)", R"({"a": [{}, {"b": []}, []]})"},
      {"", "{}"},
      {"[1, 2", "{}"},
      {"}}", "{}"},
      {"nothing", "{}"},
  };
  for (const auto& [cut, whole] : parts) EXPECT_EQ(whole_part_of(cut), Json::parse(whole)) << cut;
}

TEST_F(Tools, AFormBesideACallThatMustBeIsRefused) {
  use_template("<tool_call>");
  start();
  Json body = asking();  // with tool_choice required
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, Json>>{{"response_format", {{"type", "json_object"}}},
                                                 {"grammar", "root ::= \"a\""},
                                                 {"json_schema", {{"type", "object"}}}}) {
    Json both = body;
    both[name] = value;
    const Json refused = json(post("/v1/chat/completions", both), 400);
    EXPECT_EQ(refused["error"]["param"], "tool_choice") << name;
    EXPECT_NE(refused["error"]["message"].get<std::string>().find("response_format, json_schema or grammar"),
              std::string::npos);
  }
}

// Beside tools a form is answered by texts of that form, whatever they look like, or by calls.
TEST_F(Tools, NothingOfAFormIsACall) {
  use_template("<tool_call>");
  start();
  Json body = asking("auto");
  body["response_format"] = Json::parse(R"({"type": "json_schema", "json_schema": {"schema": {"type": "object",
      "properties": {"doc": {"const": "a <tool_call> b"}}, "required": ["doc"], "additionalProperties": false}}})");
  const std::string mark = std::to_string(tokenizer.encode("<").back());
  body["logit_bias"] = {{mark, -100}};  // or it would call at once
  const Json whole = json(post("/v1/chat/completions", body))["choices"][0];
  EXPECT_EQ(Json::parse(whole["message"]["content"].get<std::string>())["doc"], "a <tool_call> b");
  EXPECT_FALSE(whole["message"].contains("tool_calls"));
  EXPECT_EQ(whole["finish_reason"], "stop");
  body.erase("response_format");
  const Json free = json(post("/v1/chat/completions", body))["choices"][0];
  EXPECT_FALSE(free["message"].contains("tool_calls"));
  body["tools"] = Json::array();
  EXPECT_NE(free["message"]["content"], "");
}

// Where calls begin as the form does.
TEST_F(Tools, AFormIsToldFromCallsByWhatFollows) {
  use_template(R"("parameters": )");
  start();
  Json body = asking("auto");
  body["grammar"] = R"(root ::= "{\"name\": \"Bob\", \"old\": 3}")";
  const std::string text = R"({"name": "Bob", "old": 3})";
  for (const std::int32_t id : tokenizer.encode(text)) body["logit_bias"][std::to_string(id)] = 100;
  const Json whole = json(post("/v1/chat/completions", body))["choices"][0];
  EXPECT_EQ(whole["message"]["content"], text);
  EXPECT_FALSE(whole["message"].contains("tool_calls"));
  body.erase("logit_bias");
  body["logit_bias"][std::to_string(tokenizer.encode("B").back())] = -100;
  body["tool_choice"] = "required";
  body.erase("grammar");
  EXPECT_EQ(json(post("/v1/chat/completions", body))["choices"][0]["finish_reason"], "tool_calls");
}

// A stop text within a call leaves none that may be carried out.
TEST_F(Tools, AStopTextCutsThemAsALimitDoes) {
  use_template("<tool_call>");
  start();
  Json body = asking();
  body["stop"] = Json::array({"Paris", "Rome"});
  const Json cut = json(post("/v1/chat/completions", body))["choices"][0];
  EXPECT_EQ(cut["finish_reason"], "stop");
  body = {{"max_output_tokens", 200}, {"temperature", 0}, {"input", "Will it rain?"}, {"tool_choice", "required"}};
  body["stop"] = Json::array({"Paris", "Rome"});
  body["tools"].push_back({{"type", "function"}, {"name", "get_weather"}, {"parameters", weather()}});
  const Json whole = json(post("/v1/responses", body));
  EXPECT_EQ(whole["status"], "incomplete");
  ASSERT_EQ(whole["output"].size(), 1u);
  EXPECT_EQ(whole["output"][0]["status"], "incomplete");
}

TEST_F(Tools, AreToldByTheTemplateOrAsText) {
  use_template("<tool_call>");
  start();
  Json body = asking("auto");
  body["messages"].push_back(Json::parse(
      R"({"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function",
          "function": {"name": "get_weather", "arguments": "{\"city\": \"Rome\"}"}}]})"));
  body["messages"].push_back({{"role", "tool"}, {"tool_call_id", "a"}, {"content", "Sun."}});
  EXPECT_EQ(rendered(body), "get_weather;user: Will it rain?\nassistant: {\"city\": \"Rome\"}\ntool: Sun.\nassistant:");
  body["tool_choice"] = "none";
  EXPECT_EQ(rendered(body), "user: Will it rain?\nassistant: {\"city\": \"Rome\"}\ntool: Sun.\nassistant:");
  body["tool_choice"] = "auto";
  server->stop(std::chrono::milliseconds(0));
  server.reset();
  api.reset();
  use_template("nothing");
  start();
  const std::string told = rendered(body);
  EXPECT_TRUE(told.starts_with("system: You can call functions.")) << told;
  EXPECT_NE(told.find("assistant: <tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\":\"Rome\"}}"),
            std::string::npos)
      << told;
  EXPECT_NE(told.find("user: <tool_response>\nSun.\n</tool_response>"), std::string::npos) << told;
  // What was called before is told where no tools are, too.
  body["tool_choice"] = "none";
  EXPECT_EQ(rendered(body),
            "user: Will it rain?\nassistant: <tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
            "{\"city\":\"Rome\"}}\n</tool_call>\nuser: <tool_response>\nSun.\n</tool_response>\nassistant:");
}

TEST_F(Tools, WhatIsWrongWithThemIsNamed) {
  use_template("<tool_call>");
  start();
  const char* const chat = "/v1/chat/completions";
  const auto with = [](const char* name, Json value) {
    Json body = asking();
    body[name] = std::move(value);
    return body;
  };
  const auto expect_refused = [&](const Json& body, const char* part) {
    const std::string why = refusal(chat, body);
    EXPECT_NE(why.find(part), std::string::npos) << why;
  };
  expect_refused(with("tools", Json::array()), "tool_choice asks for a call");
  expect_refused(with("tools", "all"), "tools must be a list");
  expect_refused(with("tools", Json::array({{{"type", "web_search"}}})), "tools[0]: tools are functions");
  expect_refused(with("tools", Json::array({function("two words", Json::object())})), "tools[0]: a name has");
  expect_refused(with("tools", Json::array({function("f", Json::object()), function("f", Json::object())})),
                 "tools[1]: there are two");
  expect_refused(with("tool_choice", {{"type", "function"}, {"function", {{"name", "g"}}}}), "'g'");
  expect_refused(with("tool_choice", "maybe"), "tool_choice is none, auto");
  Json strict = function("f", Json::parse(R"({"type": "object", "properties": {"a": {"type": "string",
      "pattern": "^a"}}, "required": ["a"], "additionalProperties": false})"));
  strict["function"]["strict"] = true;
  expect_refused(with("tools", Json::array({strict})), "pattern");
  Json messages = {{"max_tokens", 9}, {"messages", asking()["messages"]}};
  messages["tools"] = Json::parse(R"([{"type": "web_search_20260209", "name": "web_search"}])");
  EXPECT_NE(refusal("/v1/messages", messages).find("tools[0]"), std::string::npos);
  messages["tools"] = Json::parse(R"([{"name": 5, "input_schema": {"type": "object"}}])");
  EXPECT_NE(refusal("/v1/messages", messages).find("tools[0]: a name is a text"), std::string::npos);
  messages["tools"] = Json::parse(R"([{"name": "f", "input_schema": {"type": "object"}}])");
  messages["tool_choice"] = {{"type", "sometimes"}};
  EXPECT_NE(refusal("/v1/messages", messages).find("tool_choice"), std::string::npos);
}

// Arguments of earlier calls are JSON within JSON, and of no more members than the rest.
TEST_F(Tools, ArgumentsOfAHistoryHaveTheSameLimits) {
  use_template("<tool_call>");
  start();
  Json body = asking("auto");
  const auto call_with = [&](std::size_t keys) {
    Json arguments = Json::object();
    for (std::size_t i = 0; i < keys; ++i) arguments[std::to_string(i)] = 0;
    Json call = {{"id", "a"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", arguments.dump()}}}};
    body["messages"][1] = {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", Json::array({call})}};
  };
  call_with(1000);
  EXPECT_NE(rendered(body).find("\"999\": 0"), std::string::npos);
  call_with(1100);
  EXPECT_NE(refusal("/apply-template", body).find("1024 keys"), std::string::npos);
}

TEST_F(Tools, WhatFailedIsToldAsAnError) {
  use_template("<tool_call>");
  start();
  Json body = Json::parse(R"({"max_tokens": 1, "messages": [{"role": "user", "content": "1?"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "no such city"}]}]})");
  const std::size_t read = json(post("/v1/messages/count_tokens", body))["input_tokens"];
  body["messages"][2]["content"][0]["is_error"] = true;
  EXPECT_GT(json(post("/v1/messages/count_tokens", body))["input_tokens"], read);
  const Json input = Json::parse(R"({"input": [{"role": 5, "content": "x"}]})");
  EXPECT_NE(refusal("/v1/responses", input).find("input[0]"), std::string::npos);
}

// Clients send schemas that go beyond what is kept; who has not asked for strictness gets what there is of them.
TEST_F(Tools, SchemasThatGoBeyondAreKeptAsFarAsTheyAre) {
  use_template("<tool_call>");
  start();
  Json body = asking();
  body["tools"] = Json::array({function("f", Json::parse(R"({"$schema": "http://json-schema.org/draft-07/schema#",
      "type": "object", "additionalProperties": false, "required": ["n", "gone", "when"], "properties": {
        "n": {"type": "integer", "minimum": 1}, "when": {"oneOf": [{"const": "now"}, {"const": "then"}]}}})"))});
  const Json call = json(post("/v1/chat/completions", body))["choices"][0]["message"]["tool_calls"][0]["function"];
  const Json arguments = Json::parse(call["arguments"].get<std::string>());
  EXPECT_TRUE(arguments["n"].is_number_integer()) << arguments;
  EXPECT_TRUE(arguments["when"] == "now" || arguments["when"] == "then") << arguments;
}

}  // namespace
}  // namespace nibble::serve
