// SPDX-License-Identifier: Apache-2.0
//
// What expressions match is what Python's re.match says of them; what lists of modules name.
#include "io/layers/module_pattern.h"

#include <gtest/gtest.h>

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
}

TEST(ModuleList, NamesWholeWords) {
  const struct {
    std::string_view entry, module;
    bool names, may_name;
  } kCases[] = {
      {"lm_head", "lm_head", true, true},
      {"gate", "model.layers.0.mlp.gate", true, true},
      {"mlp.gate", "model.layers.0.mlp.gate", true, true},
      {"gate", "model.layers.0.mlp.gate_proj", false, false},
      {"gate", "model.layers.0.mlp.up_gate", false, false},
      {"model.layers.1", "model.layers.1.mlp.up_proj", true, true},
      {"model.layers.1.", "model.layers.1.mlp.up_proj", true, true},
      {"model.layers.1", "model.layers.10.mlp.up_proj", false, false},
      {"layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj", true, true},
      {"language_model.model.layers.1.mlp", "model.layers.1.mlp.up_proj", false, true},
      {"language_model.model.layers.1.mlp", "model.layers.2.mlp.up_proj", false, false},
      {"model.layers.*.self_attn", "model.layers.7.self_attn.q_proj", true, true},
      {"model.layers.[0-3].mlp", "model.layers.3.mlp.up_proj", true, true},
      {"model.layers.[0-3].mlp", "model.layers.4.mlp.up_proj", false, false},
      {"model.layers.*.mlp.up", "model.layers.3.mlp.up_proj", false, false},
      {"(unread", "(unread", false, false},
      {"", "model", false, false},
  };
  for (const auto& [entry, module, names, may_name] : kCases) {
    const LayerSettings settings("awq", "here", {{"list", {entry}}});
    const ModuleList list(settings, "list");
    EXPECT_TRUE(list.is_there());
    EXPECT_EQ(list.names(module), names) << entry << ' ' << module;
    EXPECT_EQ(list.may_name(module), may_name) << entry << ' ' << module;
  }
  EXPECT_FALSE(ModuleList(LayerSettings("awq", "here", {{"list", nullptr}}), "list").is_there());
  EXPECT_THROW(ModuleList(LayerSettings("awq", "here", {{"list", "gate"}}), "list"), Error);
}

TEST(ModuleList, ReadsGlobs) {
  const LayerSettings settings("modelopt", "here", {{"ignore", {"*mlp.gate", "model.layers.1.*", "lm_hea?", "a*b"}}});
  const ModuleList list(settings, "ignore", ModuleList::Spelling::globs);
  for (const char* const named : {"model.layers.0.mlp.gate", "model.layers.1.mlp.up_proj", "lm_head", "a.c.b"})
    EXPECT_TRUE(list.names(named)) << named;
  for (const char* const other : {"model.layers.0.mlp.gate_proj", "model.layers.11.mlp", "model_layers.1.mlp", "a.b.c"})
    EXPECT_FALSE(list.names(other)) << other;
}

}  // namespace
}  // namespace nibble
