// SPDX-License-Identifier: Apache-2.0
//
// How the page is handed out, and what no file of it may hold. What it does in a browser is tests/clients/page.mjs.
#include "serve/page/page.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "pipeline/tell/inspect.h"
#include "serve/served_api.h"

namespace nibble::serve {
namespace {

std::string file(std::string_view name) {
  for (const EmbeddedText& one : page_files())
    if (one.name == name) return one.text();
  ADD_FAILURE() << "there is no " << name;
  return {};
}

// What the first group of a pattern finds.
std::vector<std::string> all_of(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) found.push_back((*at)[1].str());
  return found;
}

TEST_F(Api, APageIsHandedOutUnderAStrictPolicy) {
  start();
  RawAnswer page = ask(server->port(), "GET", "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.body, file("index.html"));
  const std::vector<std::pair<std::string, std::string>> types = {{".html", "text/html; charset=utf-8"},
                                                                  {".css", "text/css; charset=utf-8"},
                                                                  {".js", "text/javascript; charset=utf-8"},
                                                                  {".svg", "image/svg+xml"}};
  for (const EmbeddedText& one : page_files()) {
    RawAnswer answer = ask(server->port(), "GET", "/page/" + std::string(one.name));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, one.text());
    bool has_type = false;
    for (const auto& [ending, type] : types)
      has_type = has_type || (one.name.ends_with(ending) && answer.headers["content-type"] == type);
    EXPECT_TRUE(has_type) << one.name << " " << answer.headers["content-type"];
    EXPECT_EQ(answer.headers["x-content-type-options"], "nosniff");
    EXPECT_EQ(answer.headers["referrer-policy"], "no-referrer");
    EXPECT_EQ(answer.headers["cache-control"], "no-cache");
    const std::string policy = answer.headers["content-security-policy"];
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';")) << policy;
    EXPECT_NE(policy.find("connect-src 'self'"), std::string::npos);
    EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos);
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_EQ(policy.find('*'), std::string::npos);
  }
  const std::string other = ask(server->port(), "GET", "/health").headers["cache-control"];
  EXPECT_EQ(other, "no-store");
}

TEST_F(Api, APageThatABrowserHasIsNotSentAgain) {
  start();
  RawAnswer first = ask(server->port(), "GET", "/page/main.js");
  const std::string tag = first.headers["etag"];
  EXPECT_EQ(tag.size(), 66u);
  const auto again = [&](const std::string& tags) {
    RawClient client(server->port());
    client.send_request("GET", "/page/main.js", "", "If-None-Match: " + tags + "\r\n");
    return client.read_answer();
  };
  EXPECT_EQ(again("\"0000\"").body, first.body);
  RawClient client(server->port());
  client.send_request("GET", "/page/main.js", "", "If-None-Match: \"0000\", W/" + tag + "\r\n");
  RawAnswer same = client.read_answer(false);
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.headers["etag"], tag);
  EXPECT_FALSE(same.headers.contains("content-length"));
  // The connection goes on where the head ended.
  client.send_request("GET", "/page/page.css");
  EXPECT_EQ(client.read_answer().body, file("page.css"));
  EXPECT_EQ(ask(server->port(), "HEAD", "/").headers["content-length"], std::to_string(file("index.html").size()));
  for (const char* const nowhere : {"/page", "/page/", "/page/none.js", "/page/../index.html", "/index.html"})
    json(ask(server->port(), "GET", nowhere), 404);
  json(ask(server->port(), "POST", "/", "{}"), 405);
}

TEST_F(Api, APageNeedsNoKeyAndWhatItAsksForDoes) {
  start({.keys = {"secret"}, .hosts = {}, .origins = {}});
  EXPECT_EQ(ask(server->port(), "GET", "/").status, 200);
  EXPECT_EQ(ask(server->port(), "GET", "/page/main.js").status, 200);
  for (const char* const asked : {"/props", "/v1/models", "/metrics", "/slots"})
    EXPECT_EQ(ask(server->port(), "GET", asked).status, 401) << asked;
  RawClient rebound(server->port());
  rebound.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  EXPECT_EQ(rebound.read_answer().status, 403);
  RawClient foreign(server->port());
  foreign.send_request("GET", "/page/main.js", "", "Origin: https://evil.example\r\n");
  EXPECT_EQ(foreign.read_answer().status, 403);
}

// What the model view shows.
TEST_F(Api, PropertiesTellWhatTheWeightsAre) {
  facts.weights = weight_facts(model);
  start();
  const Json weights = json(ask(server->port(), "GET", "/props"))["weights"];
  EXPECT_EQ(weights["architecture"], "llama");
  EXPECT_EQ(weights["verdict"], "");
  std::uint64_t parameters = 0;
  for (const Json& share : weights["formats"]) parameters += share["parameters"].get<std::uint64_t>();
  EXPECT_EQ(parameters, describe_weights(model).parameters);
  EXPECT_FALSE(weights["formats"][0]["format"].get<std::string>().empty());
}

// What the file tells of is there, for its method and no other, and what is there it tells of.
TEST_F(Api, ADescriptionTellsOfEveryPath) {
  start();
  RawAnswer given = ask(server->port(), "GET", "/openapi.json");
  EXPECT_EQ(given.headers["content-type"], "application/json");
  const Json description = json(given);
  EXPECT_EQ(description["openapi"], "3.1.0");
  std::set<std::string> told;
  for (const auto& [path, methods] : description["paths"].items()) {
    told.insert(path);
    const std::string name = path == "/v1/models/{name}" ? "/v1/models/tale" : path;
    for (const char* const method : {"GET", "POST"}) {
      const bool is_told = methods.contains(std::string_view(method) == "GET" ? "get" : "post");
      const RawAnswer answer = ask(server->port(), method, name, std::string_view(method) == "POST" ? "{}" : "");
      EXPECT_EQ(answer.status == 405, !is_told) << method << " " << path << " " << answer.status;
      EXPECT_NE(answer.status, 404) << path;
      if (!is_told) continue;
      const Json& responses = methods[std::string_view(method) == "GET" ? "get" : "post"]["responses"];
      EXPECT_TRUE(responses.contains(std::to_string(answer.status))) << method << " " << path << " " << answer.status;
    }
  }
  // docs/serving.md's, but for the page and other spellings of the same.
  EXPECT_EQ(told, (std::set<std::string>{"/v1/chat/completions", "/v1/completions", "/v1/messages",
                                         "/v1/messages/count_tokens", "/v1/responses", "/v1/models",
                                         "/v1/models/{name}", "/tokenize", "/detokenize", "/apply-template", "/health",
                                         "/props", "/slots", "/metrics", "/openapi.json"}));
}

TEST(Page, FilesHoldNothingThatThePolicyForbids) {
  const std::string page = file("index.html");
  EXPECT_FALSE(std::regex_search(page, std::regex("<style|\\sstyle=|\\son[a-z]+=|javascript:")));
  EXPECT_EQ(all_of(page, "(<script[^>]*>)"),
            std::vector<std::string>{"<script type=\"module\" src=\"/page/main.js\">"});
  for (const EmbeddedText& one : page_files()) {
    const std::string text = one.text();
    EXPECT_FALSE(std::regex_search(
        text, std::regex("innerHTML|outerHTML|insertAdjacentHTML|document\\.write|\\beval\\(|new Function|DOMParser|"
                         "createContextualFragment|srcdoc")))
        << one.name;
    for (const std::string& address : all_of(text, "(https?://[a-z0-9.]+)"))
      EXPECT_EQ(address, "http://www.w3.org") << one.name;  // the name of SVG, which nobody asks
    EXPECT_LE(std::ranges::count(text, '\n'), 500) << one.name;
    for (const std::string& module : all_of(text, "from \"\\./([a-z]+\\.js)\"")) file(module);
  }
  for (const std::string& part : all_of(page, "\"/page/([^\"]+)\"")) file(part);
}

TEST(Page, BothLanguagesHaveAllTexts) {
  const std::string table = file("texts.js");
  const std::size_t second = table.find("\n  zh: {");
  ASSERT_NE(second, std::string::npos);
  const auto keys = [](const std::string& part) { return all_of(part, "\n    ([a-z_]+): \""); };
  const std::vector<std::string> english = keys(table.substr(0, second)), chinese = keys(table.substr(second));
  EXPECT_EQ(english, chinese);
  EXPECT_GT(english.size(), 50u);
  const std::set<std::string> known(english.begin(), english.end());
  EXPECT_EQ(known.size(), english.size());
  // Both fill in the same values.
  const auto values = [](const std::string& part) {
    std::vector<std::set<std::string>> found;
    for (const std::string& text : all_of(part, "\n    [a-z_]+: \"(.*)\",")) {
      const std::vector<std::string> names = all_of(text, "\\{(\\w+)\\}");
      found.emplace_back(names.begin(), names.end());
    }
    return found;
  };
  EXPECT_EQ(values(table.substr(0, second)), values(table.substr(second)));
  std::set<std::string> used;
  for (const std::string& key : all_of(file("index.html"), "data-(?:text|label|hint)=\"([a-z_]+)\"")) used.insert(key);
  for (const EmbeddedText& one : page_files()) {
    if (!one.name.ends_with(".js") || one.name == "texts.js") continue;
    const std::string text = one.text();
    // Quoted words; of the longer ones and of those in calls all must be texts.
    for (const std::string& word : all_of(text, "[\\[(, ?:]\"([a-z][a-z_]*)\"")) used.insert(word);
    for (const std::string& key : all_of(text, "(?:\\btext\\(|spoken\\(\"[a-z0-9]+\", |announce\\()\"([a-z_]+)\""))
      EXPECT_TRUE(known.contains(key)) << one.name << ": " << key;
  }
  for (const std::string& key : english) {
    const bool is_field = std::set<std::string>{"temperature", "top_p", "seed", "max_tokens", "system"}.contains(key);
    EXPECT_TRUE(used.contains(key) || is_field) << "nobody shows " << key;
  }
  for (const std::string& key : all_of(file("index.html"), "data-(?:text|label|hint)=\"([a-z_]+)\""))
    EXPECT_TRUE(known.contains(key)) << key;
}

}  // namespace
}  // namespace nibble::serve
