// SPDX-License-Identifier: Apache-2.0
//
// What clients are promised, against a server in this process.
#include "serve/api/api_server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "serve/served_api.h"

namespace nibble::serve {
namespace {

using namespace std::chrono_literals;

TEST_F(Api, AChatIsAnsweredWholeAndAsAStreamAlike) {
  start();
  const Generated expected =
      generate(decoder, tokenizer, tokenizer.encode("user: Once upon a time\nassistant:", kRenderedText),
               {.max_tokens = 12, .ignore_end = true}, {});
  Json body = chat_body();
  const Json whole = json(post("/v1/chat/completions", body));
  EXPECT_TRUE(whole["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(whole["object"], "chat.completion");
  EXPECT_EQ(whole["model"], "tale");
  EXPECT_TRUE(whole["created"].is_number_integer());
  ASSERT_EQ(whole["choices"].size(), 1u);
  EXPECT_EQ(whole["choices"][0]["index"], 0);
  EXPECT_EQ(whole["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(whole["choices"][0]["message"]["content"], expected.text);
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "length");
  EXPECT_TRUE(whole["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(whole["usage"]["completion_tokens"], 12);
  EXPECT_EQ(whole["usage"]["prompt_tokens"], expected.prompt_tokens);
  EXPECT_EQ(whole["usage"]["total_tokens"], 12 + expected.prompt_tokens);
  EXPECT_EQ(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 0);

  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  const RawAnswer streamed = post("/v1/chat/completions", body);
  EXPECT_TRUE(RawAnswer(streamed).headers["content-type"].starts_with("text/event-stream"));
  const std::vector<Json> found = events(streamed.body);
  ASSERT_GE(found.size(), 5u);
  EXPECT_EQ(found.back(), "[DONE]");
  EXPECT_EQ(found.front()["choices"][0]["delta"]["role"], "assistant");
  std::string text;
  for (std::size_t i = 0; i + 2 < found.size(); ++i) {
    EXPECT_EQ(found[i]["object"], "chat.completion.chunk");
    EXPECT_EQ(found[i]["id"], found[0]["id"]);
    const Json& choice = found[i]["choices"][0];
    const bool is_last = i + 3 == found.size();
    EXPECT_EQ(choice["finish_reason"], is_last ? Json("length") : Json(nullptr)) << i;
    EXPECT_EQ(choice["delta"].empty(), is_last) << i;
    text += choice["delta"].value("content", "");
  }
  EXPECT_EQ(text, expected.text);
  const Json& usage = found[found.size() - 2];
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 12);
  // The whole prompt but for the token whose logits are made.
  EXPECT_EQ(usage["usage"]["prompt_tokens_details"]["cached_tokens"], expected.prompt_tokens - 1);
}

TEST_F(Api, ThoughtsComeApart) {
  std::ofstream(scratch / "thinks.jinja") << "{{ messages[0].content }}<think>{# </think> #}";
  chat_template.emplace(ModelTemplate::open(model, (scratch / "thinks.jinja").string(), false));
  start();
  Json body = chat_body();
  const Json whole = json(post("/v1/chat/completions", body));
  const Json& message = whole["choices"][0]["message"];
  EXPECT_EQ(message["content"], "");  // it never ends its thoughts
  EXPECT_FALSE(message["reasoning_content"].get<std::string>().empty());
  EXPECT_GT(whole["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
  body["stream"] = true;
  std::string reasoning;
  for (const Json& one : events(post("/v1/chat/completions", body).body))
    if (one.is_object()) reasoning += one["choices"][0]["delta"].value("reasoning_content", "");
  EXPECT_EQ(message["reasoning_content"], reasoning);
}

TEST_F(Api, ChoicesHaveSeedsOfTheirOwn) {
  start();
  Json body = chat_body();
  body.update({{"n", 3}, {"temperature", 1.2}, {"seed", 7}, {"top_k", 0}, {"top_p", 1}});
  const Json first = json(post("/v1/chat/completions", body)), second = json(post("/v1/chat/completions", body));
  ASSERT_EQ(first["choices"].size(), 3u);
  EXPECT_EQ(first["choices"], second["choices"]);
  EXPECT_NE(first["choices"][0]["message"], first["choices"][1]["message"]);
  EXPECT_EQ(first["usage"]["completion_tokens"], 36);
  body["seed"] = 8;
  body["n"] = 1;
  EXPECT_EQ(json(post("/v1/chat/completions", body))["choices"][0]["message"], first["choices"][1]["message"]);
  body.erase("seed");
  body["max_tokens"] = 40;
  EXPECT_NE(json(post("/v1/chat/completions", body))["choices"], json(post("/v1/chat/completions", body))["choices"]);
}

TEST_F(Api, ProbabilitiesOfAChatAreToldByToken) {
  start();
  Json body = chat_body();
  body.update({{"logprobs", true}, {"top_logprobs", 3}});
  const Json whole = json(post("/v1/chat/completions", body));
  const Json content = whole["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 12u);
  std::string text;
  for (const Json& token : content) {
    ASSERT_EQ(token["top_logprobs"].size(), 3u);
    EXPECT_EQ(token["top_logprobs"][0]["token"], token["token"]);  // at temperature 0
    EXPECT_EQ(token["top_logprobs"][0]["logprob"], token["logprob"]);
    EXPECT_LE(token["logprob"], 0);
    for (const Json& byte : token["bytes"]) text += static_cast<char>(byte.get<int>());
  }
  EXPECT_EQ(whole["choices"][0]["message"]["content"], text);
  body["stream"] = true;
  Json streamed = Json::array();
  for (const Json& one : events(post("/v1/chat/completions", body).body))
    if (one.is_object() && one["choices"][0]["logprobs"].is_object())
      for (const Json& token : one["choices"][0]["logprobs"]["content"]) streamed.push_back(token);
  EXPECT_EQ(streamed, content);
}

// As harnesses score texts: the probabilities of a prompt's own tokens.
TEST_F(Api, EchoedPromptsHaveExactProbabilities) {
  start();
  const std::vector<std::int32_t> one = encode("Once upon a time there was a cat"), two = encode("Tom had");
  Json body = {{"prompt", {one, two}}, {"max_tokens", 1}, {"temperature", 0}, {"echo", true}, {"logprobs", 1}};
  body["ignore_eos"] = true;
  const Json whole = json(post("/v1/completions", body));
  ASSERT_EQ(whole["choices"].size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::vector<std::int32_t>& ids = i == 0 ? one : two;
    const Json& choice = whole["choices"][i];
    const Json& logprobs = choice["logprobs"];
    ASSERT_EQ(logprobs["tokens"].size(), ids.size() + 1);
    EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
    EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
    const std::vector<float> logits = all_logits(decoder, ids);
    const std::size_t vocabulary = facts.vocabulary;
    std::string text;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      EXPECT_EQ(logprobs["text_offset"][t], text.size());
      text += tokenizer.piece(ids[t]);
      if (t == 0) continue;
      double sum = 0, greatest = -INFINITY;
      for (std::size_t v = 0; v < vocabulary; ++v) {
        const auto x = static_cast<double>(logits[(t - 1) * vocabulary + v]);
        sum += std::exp(x);
        greatest = std::max(greatest, x);
      }
      const auto own = static_cast<double>(logits[(t - 1) * vocabulary + static_cast<std::size_t>(ids[t])]);
      EXPECT_NEAR(logprobs["token_logprobs"][t].get<double>(), own - std::log(sum), 1e-6);
      double told = -INFINITY;
      const Json& top = logprobs["top_logprobs"][t];
      for (const auto& [token, value] : top.items()) told = std::max(told, value.get<double>());
      EXPECT_NEAR(told, greatest - std::log(sum), 1e-6);
      EXPECT_EQ(top.size(), own == greatest ? 1u : 2u);
    }
    EXPECT_TRUE(choice["text"].get<std::string>().starts_with(text));
    EXPECT_EQ(choice["index"], i);
  }
  EXPECT_EQ(whole["usage"]["prompt_tokens"], one.size() + two.size());
  // Nothing but the prompt; and a text, whose control tokens are not shown.
  body = {{"prompt", "Tom had"}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 0}};
  const Json only = json(post("/v1/completions", body));
  EXPECT_EQ(only["choices"][0]["text"], "Tom had");
  EXPECT_EQ(only["choices"][0]["logprobs"]["tokens"].size(), two.size());
  EXPECT_EQ(only["usage"]["completion_tokens"], 0);
  EXPECT_EQ(only["choices"][0]["finish_reason"], "length");
}

TEST_F(Api, TextsAreContinued) {
  start();
  const Generated expected = alone("Tom had", {.max_tokens = 16, .ignore_end = true});
  Json body = {{"prompt", "Tom had"}, {"temperature", 0}, {"ignore_eos", true}};
  const Json whole = json(post("/v1/completions", body));
  EXPECT_EQ(whole["object"], "text_completion");
  EXPECT_EQ(whole["choices"][0]["text"], expected.text);
  EXPECT_EQ(whole["usage"]["completion_tokens"], 16);  // where nothing is said
  body["stream"] = true;
  body["echo"] = true;
  body["n"] = 2;
  std::vector<std::string> texts(2);
  const std::vector<Json> found = events(post("/v1/completions", body).body);
  for (const Json& one : found)
    if (one.is_object())
      texts[one["choices"][0]["index"].get<std::size_t>()] += one["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(texts[0], "Tom had" + expected.text);
  EXPECT_EQ(texts[1], texts[0]);
  EXPECT_EQ(found.back(), "[DONE]");
  const std::string stop = expected.text.substr(10, 6);
  body = {{"prompt", "Tom had"}, {"temperature", 0}, {"stop", stop}, {"max_tokens", 60}};
  const Json stopped = json(post("/v1/completions", body));
  EXPECT_EQ(stopped["choices"][0]["text"], expected.text.substr(0, expected.text.find(stop)));
  EXPECT_EQ(stopped["choices"][0]["finish_reason"], "stop");
}

TEST_F(Api, WhatWouldChangeTheAnswerAndIsNotDoneIsRefusedByName) {
  start();
  const auto refused = [&](const char* field, const Json& value, int status = 400,
                           const char* path = "/v1/chat/completions") {
    Json body = chat_body();
    body["prompt"] = "Tom";
    body[field] = value;
    const Json error = json(post(path, body), status)["error"];
    EXPECT_NE(error["message"].get<std::string>().find(field), std::string::npos) << error;
    EXPECT_EQ(error["type"], status == 404 ? "not_found_error" : "invalid_request_error");
    return error;
  };
  EXPECT_EQ(refused("response_format", {{"type", "xml"}})["code"], "unsupported_parameter");
  refused("functions", Json::array({{{"name", "f"}}}));
  refused("functions", Json::array({{{"name", "f"}}}));
  refused("modalities", {"text", "audio"});
  refused("mirostat", 2);
  refused("stop_token_ids", {5});
  refused("suffix", "x", 400, "/v1/completions");
  refused("best_of", 4, 400, "/v1/completions");
  refused("model", "another", 404);
  // Out of their ranges, or of another type.
  refused("temperature", -1);
  refused("temperature", "warm");
  refused("top_p", 1.5);
  refused("n", 9);
  refused("n", 0);
  refused("max_tokens", -2);
  refused("max_tokens", 1.5);
  refused("seed", "x");
  refused("stop", std::vector<std::string>(17, "x"));
  refused("stop", 5);
  refused("stream", "yes");
  refused("presence_penalty", 3);
  refused("frequency_penalty", -3);
  refused("top_logprobs", 5);  // without logprobs
  refused("logit_bias", {{"x", 1}});
  refused("logit_bias", {{"5", 101}});
  refused("logit_bias", {{"100000", 1}});
  refused("stream_options", true);
  refused("messages", Json::array());
  refused("messages", "Hello");
  refused("prompt", Json::array(), 400, "/v1/completions");
  refused("prompt", Json::array({1, "x"}), 400, "/v1/completions");
  refused("prompt", Json::array({1, 100000}), 400, "/v1/completions");
  refused("logprobs", 21, 400, "/v1/completions");
  // What changes nothing is not looked at.
  Json body = chat_body();
  body.update({{"user", "me"},
               {"metadata", {{"a", "b"}}},
               {"store", true},
               {"parallel_tool_calls", true},
               {"tools", Json::array()},
               {"response_format", {{"type", "text"}}},
               {"modalities", {"text"}},
               {"no_such_field", 5},
               {"service_tier", "auto"},
               {"logit_bias", nullptr}});
  json(post("/v1/chat/completions", body));
}

// At any temperature, and whatever the model would rather say.
TEST_F(Api, TextsAreHeldToWhatWasAskedFor) {
  start();
  Json body = chat_body();
  body.update(
      {{"temperature", 1.5}, {"top_k", 0}, {"top_p", 1}, {"min_p", 0}, {"max_tokens", 200}, {"n", 4}, {"seed", 1}});
  body.erase("ignore_eos");
  const auto answers = [&](const Json& more) {
    Json asked = body;
    asked.update(more);
    return json(post("/v1/chat/completions", asked))["choices"];
  };
  const Json schema = Json::parse(R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
      "age": {"type": "integer"}, "pets": {"type": "array", "items": {"enum": ["cat", "dog"]}, "maxItems": 2}},
      "required": ["name", "age", "pets"], "additionalProperties": false})");
  Json format = {{"type", "json_schema"}, {"json_schema", {{"name", "person"}, {"strict", true}, {"schema", schema}}}};
  for (const Json& choice : answers({{"response_format", format}})) {
    EXPECT_EQ(choice["finish_reason"], "stop");
    const Json person = Json::parse(choice["message"]["content"].get<std::string>(), nullptr, false);
    ASSERT_TRUE(person.is_object()) << choice;
    EXPECT_EQ(person.size(), 3u);
    EXPECT_TRUE(person["name"].is_string() && person["age"].is_number_integer() && person["pets"].is_array());
  }
  for (const Json& choice : answers({{"response_format", {{"type", "json_object"}}}, {"max_tokens", 240}}))
    if (choice["finish_reason"] == "stop") {
      EXPECT_TRUE(Json::parse(choice["message"]["content"].get<std::string>(), nullptr, false).is_object()) << choice;
    }
  for (const Json& choice : answers({{"grammar", "root ::= (\"yes\" | \"no\") [.!]"}})) {
    const std::string text = choice["message"]["content"];
    EXPECT_TRUE(text == "yes." || text == "yes!" || text == "no." || text == "no!") << text;
  }
  format["json_schema"]["schema"]["properties"]["name"]["pattern"] = "^a";
  const auto refused = [&](const Json& more, const char* part) {
    Json asked = body;
    asked.update(more);
    const Json error = json(post("/v1/chat/completions", asked), 400)["error"];
    EXPECT_NE(error["message"].get<std::string>().find(part), std::string::npos) << error;
  };
  refused({{"response_format", format}}, "#/properties/name has what is not supported: the keyword pattern");
  refused({{"response_format", {{"type", "json_schema"}}}}, "no schema");
  refused({{"grammar", "root ::= x"}}, "no rule 'x'");
  refused({{"grammar", "root ::= \"x\""}, {"response_format", {{"type", "json_object"}}}}, "one of them");
}

TEST_F(Api, MessagesAreReadAsClientsWriteThem) {
  start();
  Json body;
  body["messages"] = Json::parse(R"([{"role": "developer", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
        "function": {"name": "f", "arguments": "{\"broken"}}]},
      {"role": "tool", "tool_call_id": "1", "content": "9"}])");
  EXPECT_EQ(json(post("/apply-template", body))["prompt"],
            "system: Be brief.\nuser: One\ntwo\nassistant: <tool_call>\n{\"name\": \"f\", \"arguments\": {\"broken}\n"
            "</tool_call>\nuser: <tool_response>\n9\n</tool_response>\nassistant:");
  const auto refused = [&](const char* messages, const char* why, int status = 400) {
    body["messages"] = Json::parse(messages);
    const std::string message = json(post("/v1/chat/completions", body), status)["error"]["message"];
    EXPECT_NE(message.find(why), std::string::npos) << message;
  };
  refused(R"([{"content": "x"}])", "messages[0]: the role is missing");
  refused(R"([{"role": "user", "content": "x"}, {"role": "king", "content": "x"}])", "messages[1]: there is no role");
  refused(R"([{"role": "user"}])", "the content is missing");
  refused(R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}])", "image_url");
  refused(R"([{"role": "user", "content": "refuse"}])", "not that", 422);
}

TEST_F(Api, APromptThatDoesNotFitIsRefusedWithBothNumbers) {
  start();
  const Json error = json(post("/v1/completions", {{"prompt", std::vector<int>(300, 5)}}), 400)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_NE(error["message"].get<std::string>().find("300"), std::string::npos);
  EXPECT_NE(error["message"].get<std::string>().find("256"), std::string::npos);
}

TEST_F(Api, BadJsonAndBadPathsAreNamed) {
  start();
  const auto error_of = [&](const char* method, const char* path, const char* body, int status) {
    RawAnswer answer = ask(server->port(), method, path, body);
    return std::pair(json(answer, status)["error"], answer.headers);
  };
  EXPECT_NE(error_of("POST", "/v1/completions", "{\"prompt\":", 400).first["message"].get<std::string>().find("JSON"),
            std::string::npos);
  error_of("POST", "/v1/completions", "[1]", 400);
  error_of("POST", "/v1/completions", "", 400);
  error_of("POST", "/v1/completions", (std::string(100, '[') + std::string(100, ']')).c_str(), 400);
  error_of("GET", "/v1/embeddings", "", 404);
  EXPECT_EQ(error_of("GET", "/v1/completions", "", 405).second.at("allow"), "POST");
  error_of("POST", "/health", "", 405);
  error_of("GET", "/v1/models/none", "", 404);
  error_of("GET", "/v1/models/tale%2", "", 404);
}

TEST_F(Api, KeysHostsAndOriginsAreLookedAt) {
  start({.keys = {"first key", "second"}, .hosts = {"model.example"}, .origins = {"https://page.example"}});
  const auto status = [&](const std::string& headers, const char* path = "/v1/models", const char* method = "GET") {
    RawClient client(server->port());
    client.send(std::string(method) + " " + path + " HTTP/1.1\r\nConnection: close\r\n" + headers + "\r\n");
    return client.read_answer();
  };
  const std::string host = "Host: 127.0.0.1:8080\r\n", key = "Authorization: Bearer second\r\n";
  EXPECT_EQ(status(host).status, 401);
  EXPECT_EQ(status(host).headers["www-authenticate"], "Bearer");
  EXPECT_EQ(status(host + "Authorization: Bearer secon\r\n").status, 401);
  EXPECT_EQ(status(host + "Authorization: Bearer second2\r\n").status, 401);
  EXPECT_EQ(status(host + "Authorization: second\r\n").status, 401);
  EXPECT_EQ(status(host + key).status, 200);
  EXPECT_EQ(status(host + "authorization: bearer first key\r\n").status, 200);
  EXPECT_EQ(status(host + "X-Api-Key: second\r\n").status, 200);
  EXPECT_EQ(status(host, "/health").status, 200);
  for (const char* const known : {"localhost", "LOCALHOST:1", "[::1]:9", "192.168.0.7", "model.example:80"})
    EXPECT_EQ(status("Host: " + std::string(known) + "\r\n" + key).status, 200) << known;
  for (const char* const unknown : {"evil.example", "localhost.evil.example", "1.2.3.4.evil.example", "[evil]"})
    EXPECT_EQ(status("Host: " + std::string(unknown) + "\r\n" + key).status, 403) << unknown;
  EXPECT_EQ(status(key).status, 400);
  EXPECT_EQ(status(host + key + "Origin: https://evil.example\r\n").status, 403);
  EXPECT_EQ(status(host + key + "Origin: null\r\n").status, 403);
  EXPECT_EQ(status(host + key + "Origin: http://127.0.0.1:8080\r\n").status, 200);
  EXPECT_EQ(status(host + "Origin: https://evil.example\r\n", "/v1/models", "OPTIONS").status, 403);
  RawAnswer allowed = status(host + key + "Origin: https://page.example\r\n");
  EXPECT_EQ(allowed.status, 200);
  EXPECT_EQ(allowed.headers["access-control-allow-origin"], "https://page.example");
  allowed = status(host + "Origin: https://page.example\r\n", "/v1/chat/completions", "OPTIONS");
  EXPECT_EQ(allowed.status, 204);
  EXPECT_FALSE(allowed.headers.contains("content-length"));
  allowed = status(host + "Origin: https://page.example\r\nAccess-Control-Request-Headers: x-stainless-os, a b,x-c\r\n",
                   "/v1/chat/completions", "OPTIONS");
  EXPECT_TRUE(allowed.headers["access-control-allow-headers"].ends_with("X-Api-Key, x-stainless-os, x-c"));
  EXPECT_FALSE(allowed.headers.contains("access-control-allow-credentials"));
  EXPECT_FALSE(status(host + key).headers.contains("access-control-allow-origin"));
}

TEST_F(Api, TellsHowThingsAre) {
  start();
  const auto get = [&](const char* path) { return json(ask(server->port(), "GET", path)); };
  EXPECT_EQ(get("/health")["status"], "ok");
  EXPECT_EQ(get("/v1/models")["data"][0]["id"], "tale");
  EXPECT_EQ(get("/v1/models")["data"][0]["meta"]["n_ctx"], 256);
  EXPECT_EQ(get("/v1/models/other-name")["object"], "model");
  EXPECT_EQ(get("/v1/models/%6Fther%2dname")["object"], "model");
  EXPECT_EQ(get("/props")["total_slots"], 4);
  EXPECT_EQ(get("/props")["kv_cache"], "f32");
  EXPECT_EQ(get("/slots").size(), 4u);
  json(post("/v1/chat/completions", chat_body()));
  const std::string metrics = ask(server->port(), "GET", "/metrics").body;
  for (const char* const line :
       {"nibble_generation_tokens_total 12\n", "nibble_request_success_total{finished_reason=\"length\"} 1\n",
        "nibble_time_to_first_token_seconds_count 1\n", "nibble_inter_token_latency_seconds_count 11\n",
        "nibble_inter_token_latency_seconds_bucket{le=\"+Inf\"} 11\n", "nibble_request_queue_time_seconds_count 1\n",
        "nibble_num_requests_running 0\n", "# TYPE nibble_request_decode_time_seconds histogram\n"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
}

TEST_F(Api, TextsBecomeTokensAndBack) {
  start();
  const std::vector<std::int32_t> ids = tokenizer.encode("Tom \xc3\xa4", {.add_special = false});
  EXPECT_EQ(json(post("/tokenize", {{"content", "Tom \xc3\xa4"}}))["tokens"], Json(ids));
  const Json pieces = json(post("/tokenize", {{"content", "Tom"}, {"add_special", true}, {"with_pieces", true}}));
  EXPECT_EQ(pieces["tokens"][0]["id"], *tokenizer.bos());
  EXPECT_EQ(json(post("/detokenize", {{"tokens", ids}}))["content"], "Tom \xc3\xa4");
  json(post("/detokenize", {{"tokens", {-1}}}), 400);
  json(post("/detokenize", {{"tokens", {999999}}}), 400);
}

TEST_F(Api, AFullQueueSaysWhenToComeAgain) {
  start({}, 1, 0);
  RawClient busy(server->port());
  Json body = chat_body();
  body.update({{"stream", true}, {"max_tokens", 200}});
  busy.send_request("POST", "/v1/chat/completions", body.dump());
  EXPECT_EQ(busy.read_head().status, 200);
  RawAnswer answer = post("/v1/chat/completions", chat_body());
  // Unless the first was done by then.
  if (answer.status != 200) {
    EXPECT_EQ(json(answer, 429)["error"]["type"], "rate_limit_error");
    EXPECT_GE(std::stoi(answer.headers["retry-after"]), 1);
  }
  body["n"] = 2;  // never fits
  json(post("/v1/chat/completions", body), 400);
}

TEST_F(Api, WhoLeavesIsCancelledAndLeavesNothingBehind) {
  start({}, 2, 64);
  Json body = chat_body();
  body["max_tokens"] = 200;
  for (int i = 0; i < 24; ++i) {
    body["stream"] = i % 2 == 0;
    RawClient client(server->port());
    client.send_request("POST", "/v1/chat/completions", body.dump());
    if (i % 4 == 0) client.read_head();
    i % 3 == 0 ? client.break_off() : client.leave();
  }
  const auto is_idle = [&] {
    const SchedulerState state = scheduler->state();
    return state.running + state.waiting == 0 && server->connections() == 0;
  };
  for (int i = 0; i < 6000 && !is_idle(); ++i) std::this_thread::sleep_for(20ms);
  EXPECT_TRUE(is_idle());
  EXPECT_EQ(scheduler->state().memory_in_use, scheduler->state().memory_held);
  json(post("/v1/chat/completions", chat_body()));
}

TEST_F(Api, WhatWasBegunEndsWhenTheServerDoes) {
  start();
  Json body = chat_body();
  body.update({{"stream", true}, {"max_tokens", 40}});
  RawClient busy(server->port());
  busy.send_request("POST", "/v1/chat/completions", body.dump());
  EXPECT_EQ(busy.read_head().status, 200);
  EXPECT_FALSE(busy.read_chunk().empty());
  server->close();
  EXPECT_TRUE(scheduler->drain(120s));
  std::string rest;
  for (std::string chunk = busy.read_chunk(); !chunk.empty(); chunk = busy.read_chunk()) rest += chunk;
  EXPECT_TRUE(rest.ends_with("data: [DONE]\n\n")) << rest;
}

TEST_F(Api, EveryRequestIsALineOfTheLog) {
  start();
  json(post("/v1/chat/completions", chat_body()));
  json(post("/v1/completions", Json::object()), 400);
  ask(server->port(), "GET", "/nowhere");
  server->stop(120s);
  const std::lock_guard lock(log_mutex);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["status"], 200);
  EXPECT_EQ(lines[0]["new_tokens"], 12);
  EXPECT_EQ(lines[0]["prefix"], "nothing held");
  EXPECT_EQ(lines[1]["status"], 400);
  EXPECT_NE(lines[1]["error"].get<std::string>().find("prompt"), std::string::npos);
  EXPECT_EQ(lines[2]["event"], "refused");
}

}  // namespace
}  // namespace nibble::serve
