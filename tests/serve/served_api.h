// SPDX-License-Identifier: Apache-2.0
//
// A server in this process, and what clients see of it.
#pragma once

#include <gtest/gtest.h>

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/api/api_server.h"
#include "serve/raw_client.h"
#include "serve/requests.h"

namespace nibble::serve {

inline constexpr const char* kTemplate =
    "{% for m in messages %}{{ m.role }}: {{ m.content.split('</think>')[-1] }}\n{% endfor %}"
    "{% if messages[0].content == 'refuse' %}{{ raise_exception('not that') }}{% endif %}"
    "{% if add_generation_prompt %}assistant:{% endif %}";

class Api : public testing::Test, public ServedTale {
 protected:
  void SetUp() override {
    if (!has_http_server()) GTEST_SKIP() << "Optional: built without Boost";
    std::ofstream(scratch / "lines.jinja") << kTemplate;
    chat_template.emplace(ModelTemplate::open(model, (scratch / "lines.jinja").string(), false));
    facts.names = {"tale", "other-name"};
    facts.tokenizer = &tokenizer;
    facts.chat_template = &*chat_template;
    facts.context = facts.trained_context = 256;
    facts.vocabulary = decoder.config().vocab_size;
    facts.kv = kv_type_name(decoder.kv_type());
    facts.created = 1;
  }
  void TearDown() override {
    if (server) server->stop(std::chrono::milliseconds(0));
  }
  void start(AccessRules rules = {}, std::size_t parallel = 4, std::size_t queue = 16) {
    BatchLimits given = limits();
    given.most_sequences = parallel;
    given.context = facts.context;
    facts.most_sequences = parallel;
    facts.most_together = parallel + queue;
    const auto loaded =
        std::make_shared<LoadedModel>(decoder, tokenizer, SchedulerOptions{.limits = given, .queue = queue});
    scheduler = &loaded->scheduler;
    pool.emplace(loaded);
    api.emplace(std::span(&facts, 1), *pool, std::move(rules), [this](const Json& line) {
      const std::lock_guard lock(log_mutex);
      lines.push_back(line);
    });
    server.emplace(HttpAddress{.port = 0}, HttpLimits{}, *api);
    server->start();
  }
  RawAnswer post(std::string_view path, const Json& body) {
    return ask(server->port(), "POST", path, body.dump(), "Content-Type: application/json\r\n");
  }
  // Of an answer that is one.
  Json json(const RawAnswer& answer, int status = 200) {
    EXPECT_EQ(answer.status, status) << answer.body.substr(0, 1000);
    return Json::parse(answer.body, nullptr, false);
  }
  Json chat_body(const std::string& text = "Once upon a time") {
    Json body = {{"model", "tale"}, {"max_tokens", 12}, {"temperature", 0}, {"ignore_eos", true}};
    body["messages"].push_back({{"role", "user"}, {"content", text}});
    return body;
  }
  // Of a stream of server-sent events: their data.
  static std::vector<Json> events(const std::string& body) {
    std::vector<Json> found;
    for (std::size_t at = 0; at < body.size();) {
      const std::size_t end = body.find("\n\n", at);
      const std::string one = body.substr(at, end - at);
      at = end == std::string::npos ? body.size() : end + 2;
      if (one.starts_with(':')) continue;
      // Named ones have their data in a second line.
      const std::size_t begin = one.starts_with("event: ") ? one.find('\n') + 1 : 0;
      EXPECT_EQ(one.compare(begin, 6, "data: "), 0) << one;
      const std::string data = one.substr(begin + 6);
      found.push_back(data == "[DONE]" ? Json("[DONE]") : Json::parse(data, nullptr, false));
    }
    return found;
  }

  ScratchDirectory scratch;
  std::optional<ModelTemplate> chat_template;
  ServedModel facts;
  std::mutex log_mutex;
  std::vector<Json> lines;
  std::optional<ModelPool> pool;
  Scheduler* scheduler = nullptr;  // of the pool's model
  std::optional<ApiServer> api;
  std::optional<HttpServer> server;
};

}  // namespace nibble::serve
