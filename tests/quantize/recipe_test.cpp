// SPDX-License-Identifier: Apache-2.0
#include "quantize/recipe.h"

#include <gtest/gtest.h>

#include "nibble/error.h"
#include "quantize/method.h"

namespace nibble {
namespace {

std::string message(auto&& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TensorFacts matrix(std::string name, std::uint64_t cols) {
  TensorFacts facts;
  facts.name = std::move(name);
  facts.rows = 64;
  facts.cols = cols;
  facts.num_layers = 8;
  return facts;
}

TEST(Recipe, BlockFormatsCoverEveryMatrix) {
  const Recipe recipe = find_recipe("Q8_0");
  EXPECT_EQ(recipe.name, "q8_0");
  EXPECT_EQ(recipe.file_type, 7u);
  EXPECT_FALSE(covers_linears_only(recipe));
  for (const char* name : {"token_embd.weight", "output.weight", "blk.0.attn_v.weight"})
    EXPECT_EQ(assign(recipe, matrix(name, 256), find_format("f32")).format->name(), "q8_0");
}

TEST(Recipe, PlanarFormatsCoverTheLinearsOnly) {
  const Recipe recipe = find_recipe("int4:g32");
  EXPECT_TRUE(covers_linears_only(recipe));
  EXPECT_EQ(assign(recipe, matrix("token_embd.weight", 256), find_format("f32")).format->name(), "f16");
  EXPECT_EQ(assign(recipe, matrix("output.weight", 256), find_format("bf16")).format->name(), "bf16");
  EXPECT_EQ(assign(recipe, matrix("blk.0.attn_v.weight", 172), find_format("bf16")).format->name(), "int4:g32");
}

TEST(Recipe, OverridesComeFirstAndKnowTiedMatrices) {
  Recipe recipe = find_recipe("int4:g32");
  override_embedding(recipe, "q8_0");
  EXPECT_EQ(assign(recipe, matrix("token_embd.weight", 256), nullptr).format->name(), "q8_0");
  EXPECT_EQ(assign(recipe, matrix("output.weight", 256), nullptr).format->name(), "f16");
  override_head(recipe, "f32");
  EXPECT_EQ(assign(recipe, matrix("output.weight", 256), nullptr).format->name(), "f32");
  EXPECT_EQ(assign(recipe, matrix("token_embd.weight", 256), nullptr).format->name(), "q8_0");
  TensorFacts tied = matrix("token_embd.weight", 256);
  tied.tied = true;
  EXPECT_EQ(assign(recipe, tied, nullptr).format->name(), "f32");
  EXPECT_NE(message([&] { override_head(recipe, "q9_9"); }), "no error");
}

TEST(Recipe, FallsBackLoudlyWhenRowsDoNotFit) {
  const Recipe recipe = find_recipe("q4_k");
  Assignment assignment = assign(recipe, matrix("blk.0.attn_v.weight", 896), nullptr);
  EXPECT_EQ(assignment.format->name(), "q5_0");
  EXPECT_EQ(assignment.wanted, "q4_k");
  assignment = assign(recipe, matrix("blk.0.attn_v.weight", 172), nullptr);
  EXPECT_EQ(assignment.format->name(), "f16");
  EXPECT_EQ(assignment.wanted, "q4_k");
  assignment = assign(recipe, matrix("blk.0.attn_v.weight", 512), nullptr);
  EXPECT_EQ(assignment.format->name(), "q4_k");
  EXPECT_TRUE(assignment.wanted.empty());
  EXPECT_EQ(fallback_format(find_format("q6_k"), 64)->name(), "q8_0");
  EXPECT_EQ(fallback_format(find_format("q8_0"), 33)->name(), "f16");
}

TEST(Recipe, MixesAreFoundByNameAndByPrefix) {
  EXPECT_EQ(find_recipe("q4_k_m").file_type, 15u);
  EXPECT_EQ(find_recipe("mix:Q4_K_M").rules.size(), find_recipe("q4_k_m").rules.size());
  EXPECT_EQ(find_recipe("q6_k").rules.size(), 1u);
  EXPECT_GT(find_recipe("mix:q6_k").rules.size(), 1u);
  EXPECT_EQ(message([] { find_recipe("mix:q4_k_n"); }), "unknown mix 'q4_k_n'; near are q4_k_s, q4_k_m");
  EXPECT_NE(message([] { find_recipe("q4_k_n"); }).find("q4_k_m"), std::string::npos);
}

TEST(Recipe, SurvivesJson) {
  for (const char* name : {"q4_k_m", "mix:q2_k", "int4:g32:asym", "q8_0", "f16"}) {
    const Recipe recipe = find_recipe(name);
    const std::string json = recipe_to_json(recipe);
    EXPECT_EQ(recipe_to_json(recipe_from_json(json, "test")), json) << name;
  }
}

TEST(Recipe, JsonErrorsNameSourceAndRule) {
  const auto error = [](const char* json) { return message([&] { recipe_from_json(json, "r.json"); }); };
  EXPECT_EQ(error("["), "r.json: not a recipe: no JSON object; 'nibble recipe show' prints one to start from");
  EXPECT_EQ(error("{}"), "r.json: a recipe needs \"rules\", a list with at least one rule");
  EXPECT_EQ(error(R"({"rules": [{"format": "q8_0"}]})"), "r.json: rule 1 lacks \"tensors\", a pattern such as \"*.attn_v.weight\"");
  EXPECT_EQ(error(R"({"rules": [{"tensors": "*", "format": "q8_0"}, {"tensors": "*"}]})"), "r.json: rule 2 lacks \"format\"");
  EXPECT_EQ(error(R"({"rules": [{"tensors": "*", "format": "q8_0", "if": ""}]})"),
            "r.json: rule 1: unknown key \"if\"; known are tensors, when, format, method");
  EXPECT_EQ(error(R"({"rules": [{"tensors": "*", "format": "q8_0", "method": "magic"}]})"),
            "r.json: rule 1: unknown method 'magic'; known are rtn, mse, imatrix, table, awq, smoothquant, gptq, descent");
  EXPECT_EQ(error(R"({"rules": [{"tensors": 3, "format": "q8_0"}]})"), "r.json: rule 1: \"tensors\" must be a string");
}

TEST(Recipe, NeedsARuleForEveryTensor) {
  const Recipe recipe = recipe_from_json(R"({"name": "part", "rules": [{"tensors": "*.attn_v.weight", "format": "q8_0"}]})", "r.json");
  EXPECT_EQ(message([&] { assign(recipe, matrix("output.weight", 64), nullptr); }),
            "recipe 'part' has no rule for tensor 'output.weight'; end it with a rule for '*'");
}

TEST(Method, IsAComposition) {
  EXPECT_EQ(find_method("rtn").composition(), "none + auto + nearest");
  EXPECT_EQ(message([] { find_method("gtpq"); }), "unknown method 'gtpq'; known are rtn, mse, imatrix, table, awq, smoothquant, gptq, descent");
}

// A recipe that was printed and edited does not pass for the mix that it was.
TEST(Recipe, EditedRecipesAreTold) {
  const std::string printed = recipe_to_json(find_recipe("q4_k_m"));
  const Recipe same = recipe_from_json(printed, "r.json");
  EXPECT_EQ(same.name, "q4_k_m");
  EXPECT_TRUE(same.file_type.has_value());
  std::string edited = printed;
  edited.insert(edited.find('[') + 1, R"({"tensors": "*.attn_v.weight", "format": "q8_0"},)");
  const Recipe other = recipe_from_json(edited, "r.json");
  EXPECT_EQ(other.name, "q4_k_m (edited)");
  EXPECT_FALSE(other.file_type.has_value());
}

TEST(Recipe, ItsFormatIsTheDefault) {
  const Recipe recipe = recipe_from_json(R"({"name": "mine", "format": "q4_0", "rules": [{"tensors": "*.attn_v.weight", "format": "q8_0"}]})", "r.json");
  EXPECT_EQ(assign(recipe, matrix("blk.0.ffn_up.weight", 256), find_format("f16")).format->name(), "q4_0");
  EXPECT_EQ(assign(recipe, matrix("blk.0.attn_v.weight", 256), find_format("f16")).format->name(), "q8_0");
}

}  // namespace
}  // namespace nibble
