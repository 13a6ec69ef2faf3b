// SPDX-License-Identifier: Apache-2.0
//
// What expressions match is what Python's re.match says of them; what lists of modules and rules for them name.
#include "io/layers/module_pattern.h"

#include <gtest/gtest.h>

#include "io/layers/dynamic_settings.h"
#include "io/layers/module_list.h"
#include "nibble/error.h"

namespace nibble {
namespace {

TEST(ModulePattern, MatchesAsPythonDoes) {
  const struct {
    std::string_view expression, name;
    bool matches;
  } kCases[] = {
      {".*lm_head", "lm_head", true},
      {".*lm_head", "model.lm_head.weight", true},  // ends anywhere
      {"lm_head", "model.lm_head", false},          // begins at the begin
      {".*gate$", "model.layers.0.mlp.gate", true},
      {".*gate$", "model.layers.0.mlp.gate_proj", false},
      {R"(model\.layers\.(0|1[0-9]?)\..*_proj$)", "model.layers.17.mlp.up_proj", true},
      {R"(model\.layers\.(0|1[0-9]?)\..*_proj$)", "model.layers.27.mlp.up_proj", false},
      {R"(model\.layers\.\d{1,2}\.mlp)", "model.layers.123.mlp", false},
      {R"(model\.layers\.\d+\.mlp)", "model.layers.123.mlp", true},
      {"^(?!.*vision).*q_proj", "model.layers.0.q_proj", true},
      {"^(?!.*vision).*q_proj", "vision.layers.0.q_proj", false},
      {"(?=model).*5", "model.layers.5", true},
      {"(?:a|b)*c", "ababc", true},
      {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false},
      {"a??b", "b", true},
      {"[^.]+$", "lm_head", true},
      {"[^.]+$", "model.norm", false},
      {"[]a-c]+$", "a]c", true},
      {R"([\w.]+\S\W)", "a.b-", true},
      {"a{2}$", "aaa", false},
      {"a{2,}$", "aaa", true},
      {"", "anything", true},
  };
  for (const auto& c : kCases) EXPECT_EQ(ModulePattern(c.expression).matches(c.name), c.matches) << c.expression;
}

// As re.match says of any of the names that are left when words in front are taken away.
TEST(ModulePattern, BeginsBehindPoints) {
  const auto matches = [](std::string_view expression, std::string_view name) {
    return ModulePattern(expression).matches(name, ModulePattern::Begin::word);
  };
  EXPECT_TRUE(matches("model", "model.layers.0"));
  EXPECT_TRUE(matches("layers\\.0", "model.layers.0"));
  EXPECT_TRUE(matches("^layers\\.0$", "model.layers.0"));
  EXPECT_FALSE(matches("ayers", "model.layers.0"));
  EXPECT_FALSE(matches("layers$", "model.layers.0"));
}

// Nothing is left to follow after the first letter.
TEST(ModulePattern, NamesThatDoNotMatchEndEarly) {
  std::string expression = "z";
  for (int i = 0; i < 7; ++i) expression = "(" + expression + "){1000}";
  EXPECT_FALSE(ModulePattern(expression).matches(std::string(4000, 'a')));
}

TEST(ModulePattern, WhatItDoesNotKnowIsRefused) {
  const auto message_of = [](const auto& work) -> std::string {
    try {
      work();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported);
      return error.what();
    }
    return "";
  };
  const auto refusal = [&](std::string_view expression) {
    return message_of([&] { ModulePattern pattern(expression); });
  };
  EXPECT_EQ(refusal("a)"), "the expression 'a)' has an unmatched ')' at offset 1, which is not read here");
  EXPECT_NE(refusal("(?<name>a)").find("a group of its own kind at offset 3"), std::string::npos);
  EXPECT_NE(refusal("*a").find("a repetition of nothing at offset 0"), std::string::npos);
  EXPECT_NE(refusal("a**").find("a repetition of a repetition at offset 3"), std::string::npos);
  EXPECT_NE(refusal(R"(\1)").find("an escape"), std::string::npos);
  EXPECT_NE(refusal("[b-a]").find("a range that is none"), std::string::npos);
  EXPECT_NE(refusal("a{3,1}").find("a count that is none"), std::string::npos);
  EXPECT_NE(refusal(std::string(2000, 'a')).find("is longer than"), std::string::npos);
  EXPECT_NE(refusal(std::string(100, '(')).find("nested too deep"), std::string::npos);
  std::string name(4000, 'a');
  const ModulePattern slow("(.(?=.*(?=.*z)))*z");
  EXPECT_NE(message_of([&] { slow.matches(name); }).find("takes too long"), std::string::npos);
  EXPECT_EQ(message_of([&] { ModulePattern("(.(?=.*(?=.*z)))*z", "ignore").matches(name); }),
            "the expression '(.(?=.*(?=.*z)))*z' takes too long to be followed (ignore)");
}

using Match = ModuleList::Match;

ModuleList list_of(const std::vector<std::string>& entries, ModuleList::Spelling spelling) {
  return {LayerSettings("awq", "here", {{"list", entries}}), "list", spelling};
}

TEST(ModuleList, NamesWholeWords) {
  const struct {
    std::string entry;
    std::string_view module;
    Match match;
  } kCases[] = {
      {"lm_head", "lm_head", Match::named},
      {"gate", "model.layers.0.mlp.gate", Match::named},
      {"mlp.gate", "model.layers.0.mlp.gate", Match::named},
      {"gate", "model.layers.0.mlp.gate_proj", Match::perhaps},
      {"gate", "model.layers.0.mlp.up_gate", Match::perhaps},
      {"model.layers.1", "model.layers.1.mlp.up_proj", Match::named},
      {"model.layers.1.", "model.layers.1.mlp.up_proj", Match::named},
      {"model.layers.1", "model.layers.10.mlp.up_proj", Match::perhaps},
      {"model.layers.10", "model.layers.1.mlp.up_proj", Match::none},
      {"layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj", Match::named},
      {"language_model.model.layers.1.mlp", "model.layers.1.mlp.up_proj", Match::perhaps},
      {"language_model.model.layers.1.mlp", "model.layers.2.mlp.up_proj", Match::none},
      {"model.layers.*.self_attn", "model.layers.7.self_attn.q_proj", Match::named},
      {"model.layers.*.self_attn", "language_model.model.layers.7.self_attn.q_proj", Match::perhaps},
      {"model.layers.[0-3].mlp", "model.layers.3.mlp.up_proj", Match::named},
      {"model.layers.[0-3].mlp", "model.layers.4.mlp.up_proj", Match::none},
      {"model.layers.*.mlp.up", "model.layers.3.mlp.up_proj", Match::perhaps},
      {"(unread", "(unread", Match::perhaps},
      {R"(model\.layers\.3\.mlp\b)", "model.layers.3.mlp.up_proj", Match::perhaps},
      {"", "model", Match::none},
  };
  for (const auto& [entry, module, match] : kCases) {
    const ModuleList list = list_of({entry}, ModuleList::Spelling::parts);
    EXPECT_TRUE(list.is_there());
    EXPECT_EQ(list.match(module), match) << entry << ' ' << module;
  }
  EXPECT_FALSE(ModuleList(LayerSettings("awq", "here", {{"list", nullptr}}), "list").is_there());
  EXPECT_THROW(ModuleList(LayerSettings("awq", "here", {{"list", "gate"}}), "list"), Error);
  EXPECT_EQ(list_of({"(unread", "lm_head"}, ModuleList::Spelling::parts).match("lm_head"), Match::named);
}

TEST(ModuleList, ReadsGlobs) {
  const ModuleList list =
      list_of({"*mlp.gate", "model.layers.1.*", "lm_hea?", "a*b", "model.layers.2.mlp"}, ModuleList::Spelling::globs);
  for (const char* const named :
       {"model.layers.0.mlp.gate", "model.layers.1.mlp.up_proj", "lm_head", "a.c.b", "model.layers.2.mlp"})
    EXPECT_EQ(list.match(named), Match::named) << named;
  for (const char* const perhaps :
       {"model.layers.2.mlp.up_proj", "language_model.layers.1.mlp.up_proj", "language_model.model.layers.2.mlp"})
    EXPECT_EQ(list.match(perhaps), Match::perhaps) << perhaps;
  for (const char* const other : {"model.layers.0.mlp.gate_proj", "model.layers.11.mlp", "model_layers.1.mlp", "a.b.c"})
    EXPECT_NE(list.match(other), Match::named) << other;
}

TEST(ModuleList, ReadsTargets) {
  const ModuleList list =
      list_of({"model.layers.1.mlp", "re:model\\.layers\\.3\\..*_proj$"}, ModuleList::Spelling::targets);
  EXPECT_EQ(list.match("model.layers.1.mlp"), Match::named);
  EXPECT_EQ(list.match("model.layers.3.mlp.up_proj"), Match::named);
  EXPECT_EQ(list.match("model.layers.1.mlp.up_proj"), Match::perhaps);
  EXPECT_EQ(list.match("language_model.model.layers.3.mlp.up_proj"), Match::perhaps);
  EXPECT_EQ(list.match("model.layers.3.mlp.up"), Match::none);
}

TEST(DynamicSettings, LiesOverThoseOfAllAndCopiesNone) {
  const LayerSettings settings("gptq", "here",
                               {{"bits", 4},
                                {"group_size", 32},
                                {"sym", true},
                                {"dynamic", {{".*up", {{"bits", 8}, {"sym", nullptr}}}, {"-:.*down", {{"bits", 2}}}}}});
  const DynamicSettings dynamic(settings);
  const DynamicSettings::Rule* const rule = dynamic.find("mlp.up");
  ASSERT_TRUE(rule != nullptr && rule->own);
  EXPECT_EQ(rule->own->whole_number("bits", {}), 8);
  EXPECT_EQ(rule->own->group_size(), 32u);
  EXPECT_FALSE(rule->own->flag("sym", false));
  EXPECT_EQ(&rule->own->json(), &settings.json()["dynamic"][".*up"]);
  EXPECT_FALSE(dynamic.find("mlp.down")->own);
  EXPECT_EQ(dynamic.find("mlp.gate"), nullptr);
}

}  // namespace
}  // namespace nibble
