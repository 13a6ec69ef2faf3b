// SPDX-License-Identifier: Apache-2.0
#include "model/chat/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "io/json_text.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;
using Cause = TemplateError::Cause;

std::tm moment() {
  std::tm time{};
  time.tm_year = 124;
  time.tm_mon = 1;
  time.tm_mday = 3;
  time.tm_hour = 4;
  time.tm_min = 5;
  time.tm_sec = 6;
  time.tm_wday = 6;
  time.tm_yday = 33;
  return time;
}

Conversation with_user(const std::string& content = "Hello") {
  Conversation conversation;
  conversation.messages = Json::array({{{"role", "user"}, {"content", content}}});
  conversation.now = moment();
  return conversation;
}

std::string render(const std::string& text, const Conversation& conversation = with_user(),
                   const TemplateLimits& limits = {}) {
  return ChatTemplate::parse(text, "template", limits).render(conversation);
}

// What a template fails with.
TemplateError fault_of(const std::string& text, const TemplateLimits& limits = {},
                       const Conversation& conversation = with_user()) {
  try {
    const std::string rendered = render(text, conversation, limits);
    ADD_FAILURE() << "rendered: " << rendered.substr(0, 200);
  } catch (const TemplateError& error) {
    return error;
  }
  return {Cause::syntax, 0, "", ""};
}

Json reference() {
  const std::string path = std::string(NIBBLE_SOURCE_DIR) + "/tests/data/templates/constructs.json";
  std::ifstream file(path, std::ios::binary);
  return parse_json(std::string(std::istreambuf_iterator<char>(file), {}), path);
}

Conversation conversation_of(const Json& all, const Json& test_case) {
  const auto name = test_case["name"].get<std::string>();
  const Json& given = all["conversations"][name.substr(name.find('/') + 1)];
  Conversation conversation;
  conversation.messages = given["messages"];
  if (given.contains("tools")) conversation.tools = given["tools"];
  conversation.variables = all["variables"];
  conversation.add_generation_prompt = true;
  conversation.bos_token = "<s>";
  conversation.eos_token = "</s>";
  conversation.now = moment();
  return conversation;
}

TEST(ChatTemplate, RendersEveryConstructAsTransformersDoes) {
  const Json all = reference();
  std::size_t rendered = 0, failed = 0;
  for (const Json& test_case : all["cases"]) {
    SCOPED_TRACE(test_case["name"].get<std::string>());
    const auto text = test_case["template"].get<std::string>();
    const Conversation conversation = conversation_of(all, test_case);
    if (test_case.contains("text")) {
      EXPECT_EQ(render(text, conversation), test_case["text"].get<std::string>());
      ++rendered;
      continue;
    }
    const TemplateError error = fault_of(text, {}, conversation);
    EXPECT_EQ(error.cause() == Cause::raised, test_case.contains("raised")) << error.what();
    EXPECT_EQ(test_case.value("raised", error.message()), error.message());
    ++failed;
  }
  EXPECT_GE(rendered, 45U);
  EXPECT_GE(failed, 40U);
}

TEST(ChatTemplate, ErrorsSayWhatAndWhere) {
  const TemplateError raised = fault_of("a\n{{ raise_exception('no ' ~ messages[0].role) }}");
  EXPECT_EQ(raised.cause(), Cause::raised);
  EXPECT_EQ(raised.kind(), ErrorKind::unusable_input);
  EXPECT_EQ(raised.message(), "no user");
  EXPECT_STREQ(raised.what(), "template: line 2: no user");

  const TemplateError missing = fault_of("\n\n{{ name.part }}");
  EXPECT_EQ(missing.cause(), Cause::undefined);
  EXPECT_STREQ(missing.what(), "template: line 3: 'name' is undefined");

  const TemplateError syntax = fault_of("{% if true %}\n{% endfor %}");
  EXPECT_EQ(syntax.cause(), Cause::syntax);
  EXPECT_EQ(syntax.line(), 2);

  EXPECT_EQ(fault_of("{{ [].append(1) }}").cause(), Cause::refused);
  EXPECT_EQ(fault_of("{{ 1 + 'a' }}").cause(), Cause::value);
  EXPECT_EQ(fault_of("{{ 1|nonsense }}").cause(), Cause::unsupported);
  EXPECT_EQ(fault_of("{% include 'other' %}").cause(), Cause::unsupported);
  EXPECT_EQ(fault_of("\xff").cause(), Cause::syntax);

  for (const char* sliced : {"{{ [1][0:1, 0] }}", "{{ [1][0, :] }}", "{{ [1][:, :] }}"})
    EXPECT_STREQ(fault_of(sliced).what(), "template: line 1: a slice stands alone in its brackets");
  EXPECT_EQ(fault_of("{{ [1][0:1,] }}").cause(), Cause::syntax);
}

TEST(ChatTemplate, MessagesAreMadePlainFirst) {
  Conversation conversation = with_user();
  conversation.messages = Json::parse(R"([{"role": "assistant", "content": null, "thinking": "Hm"}])");
  EXPECT_EQ(render("{{ messages[0] }}", conversation),
            "{'thinking': 'Hm', 'role': 'assistant', 'reasoning_content': 'Hm'}");
  conversation.messages = Json::parse(R"([1])");
  EXPECT_THROW(render("", conversation), Error);
  conversation.messages = Json::object();
  EXPECT_THROW(render("", conversation), Error);
}

TEST(ChatTemplate, VariablesWinOverTokensAndFunctions) {
  Conversation conversation = with_user();
  conversation.bos_token = "<s>";
  conversation.variables = Json::parse(R"({"bos_token": "<t>", "range": 5, "enable_thinking": false})");
  EXPECT_EQ(render("{{ bos_token }}{{ range }}{{ enable_thinking }}{{ tools }}", conversation), "<t>5FalseNone");
}

// Each of these would run without end, or hold more than any machine has.
TEST(ChatTemplate, LimitsStopHostileTemplates) {
  const TemplateLimits small = {.steps = 200'000, .depth = 400, .held_bytes = 1U << 20U, .output_bytes = 1U << 16U};
  for (const char* text : {
           "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}",
           "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
           "{{ 'a' * 99999999999 }}",
           "{{ [1] * 99999999999 }}",
           "{% set ns = namespace(t='aaaaaaaa') %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
           "{% set ns = namespace(t=[1, 2]) %}{% for i in range(60) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t "
           "}}",
           "{% set ns = namespace(t=1) %}{% for i in range(999) %}{% set ns.t = [ns.t] %}{% endfor %}",
           "{% set ns = namespace(t=1) %}{% for i in range(999) %}{% set ns.t = [ns.t].index %}{% endfor %}",
           "{% set ns = namespace() %}{% set ns.t = ns %}{{ ns }}",
           "{% for i in range(9000) %}aaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}",
           "{% macro m(n) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{ m(n) }}{% endmacro %}{{ m(1) }}",
           "{% for i in [[1]] recursive %}{{ loop([i]) }}{% endfor %}",
           "{{ range(99999)|map('string')|join(',') }}",
           "{{ 'a'.center(9999999999) }}",
           "{{ '%9999999999d' % 1 }}",
           "{{ '{:9999999999}'.format(1) }}",
           "{{ 'aaaa'|replace('', 'b' * 900000) }}",
           "{{ range(100001) }}",
           "{{ [1]|batch(9999999999, 0)|list }}",
           "{{ [1]|slice(9999999999)|list }}",
       })
    EXPECT_EQ(fault_of(text, small).cause(), Cause::limit) << text;
}

// What lives to the end of a rendering, what keys copy and what a call needs for a moment.
TEST(ChatTemplate, AllThatIsHeldIsCounted) {
  const std::string with_text = "{% set s = 'a' * 300000 %}";
  for (const char* text : {
           "{% for i in range(99) %}{% set j = joiner(s) %}{% endfor %}",
           "{% for i in range(99) %}{% set n = namespace(**{s: 1}) %}{% endfor %}",
           "{% for i in range(99) %}{% set c = cycler(*([1] * 9000)) %}{% endfor %}",
           "{% for i in range(99) %}{% for x in [1] * 9000 %}{{ loop.index }}{% break %}{% endfor %}{% endfor %}",
           "{{ {s: 1, s ~ 'b': 2}|length }}",
           "{{ 'x'.strip(s) }}",
           "{{ 'x'|trim(s) }}",
           "{{ s in s }}",
           "{{ s.find(s) }}",
           "{{ s.split(s) }}",
           "{{ s.partition(s)|length }}",
           "{{ s.replace(s, '') }}",
           "{{ s|replace(s, '') }}",
           "{{ s|int }}",
           "{{ s|float }}",
       })
    EXPECT_EQ(fault_of(with_text + text, {.held_bytes = 1U << 20U}).message(),
              "the template's values need more than 1048576 bytes")
        << text;
}

TEST(ChatTemplate, AllTextThatIsReadIsPaidFor) {
  const std::string begin = "{% set s = 'a' * 200000 %}{% for i in range(60) %}";
  for (const char* text :
       {"{{ 'x'.removeprefix(s) }}", "{{ 'x'.strip(s) }}", "{{ 'x'|trim(s) }}", "{{ 'x'.split(s)|length }}",
        "{{ 'x'.startswith(s) }}", "{{ s.startswith((s, 'b')) }}", "{{ s is sameas(s) }}", "{{ s in {} }}",
        "{{ s|int }}", "{{ {}.get(s) }}", "{{ {}[s] }}", "{{ joiner(s) }}", "{{ [s]|unique(true)|list|length }}",
        "{{ {(s[:9],): 1}|length }}{{ s in {} }}"})
    EXPECT_EQ(fault_of(begin + text + "{% endfor %}", {.steps = 60'000}).message(),
              "the template takes more than 60000 steps")
        << text;
  EXPECT_EQ(fault_of("{% set s = 'a' * 200000 %}{{ ('b' ~ s).startswith((s,) * 9000) }}", {.steps = 60'000}).message(),
            "the template takes more than 60000 steps");
}

TEST(ChatTemplate, NamespacesInThemselvesArePrintedToALimit) {
  EXPECT_EQ(fault_of("{% set ns = namespace() %}{% set ns.x = ns %}{% for i in range(95) %}{% set ns.x = [ns.x] %}"
                     "{% endfor %}{{ ns }}")
                .message(),
            "a namespace that contains itself cannot be printed");
}

TEST(ChatTemplate, ErrorsNameTheLimit) {
  const std::string loop = "{% for i in range(100) %}aaaa{% endfor %}";
  EXPECT_EQ(fault_of(loop, {.steps = 100}).message(), "the template takes more than 100 steps");
  EXPECT_EQ(fault_of(loop, {.output_bytes = 100}).message(), "the template writes more than 100 bytes");
  EXPECT_EQ(fault_of("{{ ((((1 + 1)))) }}", {.depth = 2}).message(), "the template runs deeper than 2 levels");
  EXPECT_EQ(fault_of("{{ 'a' * 9999 }}", {.held_bytes = 5000}).message(),
            "the template's values need more than 5000 bytes");
  EXPECT_EQ(render(loop, with_user(), {.steps = 2000, .output_bytes = 400}).size(), 400U);
}

TEST(ChatTemplate, NestingIsLimitedBeforeAnythingRuns) {
  std::string sum = "1", brackets, conditions;
  for (int i = 0; i < 5000; ++i) sum += "+1";
  for (int i = 0; i < 5000; ++i) brackets += "[";
  for (int i = 0; i < 5000; ++i) conditions += "{% if 1 %}";
  EXPECT_EQ(fault_of("{{ " + sum + " }}").cause(), Cause::syntax);
  EXPECT_EQ(fault_of("{{ " + brackets + " }}").cause(), Cause::syntax);
  EXPECT_EQ(fault_of(conditions).cause(), Cause::syntax);
  EXPECT_EQ(fault_of(std::string((1U << 20U) + 1, 'a')).cause(), Cause::limit);
}

TEST(ChatTemplate, LongConversationsStayWithinTheDefaults) {
  Conversation conversation = with_user();
  for (int i = 0; i < 2000; ++i)
    conversation.messages.push_back({{"role", "user"}, {"content", std::string(500, 'a')}});
  const std::string text = render(
      "{% for m in messages %}{{ '<' + m.role + '>' }}{{ m.content | trim }}{% if loop.last %}.{% endif %}{% endfor %}",
      conversation);
  EXPECT_EQ(text.size(), 6 + 5 + 2000 * (6 + 500) + 1);
}

TEST(ChatTemplate, ThreadsShareATemplate) {
  const ChatTemplate shared =
      ChatTemplate::parse("{% for m in messages %}{{ m.content }}{{ [1, 'a'] }}{% endfor %}", "t");
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < texts.size(); ++i)
    threads.emplace_back([&, i] { texts[i] = shared.render(with_user(std::to_string(i))); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(texts[i], std::to_string(i) + "[1, 'a']");
}

}  // namespace
}  // namespace nibble
