// SPDX-License-Identifier: Apache-2.0
//
// What expressions match is what Python's re.match says of them.
#include "io/layers/module_pattern.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace nibble
