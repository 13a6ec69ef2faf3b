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
  EXPECT_EQ(message([] { find_recipe("Q4_K_N"); }),
            "no format and no mix has this name: q4_k_n; did you mean q4_k_s, q4_k_m?");
  EXPECT_EQ(message([] { find_recipe("q4_km"); }),
            "no format and no mix has this name: q4_km; did you mean q4_k_m, q4_k?");
  EXPECT_EQ(message([] { find_recipe("iq2_xxxs"); }),
            "no format and no mix has this name: iq2_xxxs; did you mean iq2_xxs?");
  EXPECT_NE(message([] { find_recipe("q4_k_n"); }).find("q4_k_m"), std::string::npos);
}

// What a recurrent layer forgets and learns is decided by a row for each head.
TEST(Recipe, MixesKeepTheGatesOfRecurrentLayersInEightBits) {
  for (const char* const mix : {"mix:q4_0", "q4_k_m", "iq2_m", "mix:q6_k"})
    for (const char* const name : {"blk.0.ssm_alpha.weight", "blk.0.ssm_beta.weight"})
      EXPECT_EQ(assign(find_recipe(mix), matrix(name, 512), nullptr).format->name(), "q8_0") << mix;
  EXPECT_EQ(assign(find_recipe("q4_k_m"), matrix("blk.0.ssm_out.weight", 512), nullptr).format->name(), "q4_k");
}

TEST(Recipe, NeedsARuleForEveryTensor) {
  const Recipe recipe{"part", {}, {}, {{"*.attn_v.weight", {}, "q8_0", {}}}, std::nullopt};
  EXPECT_EQ(message([&] { assign(recipe, matrix("output.weight", 64), nullptr); }),
            "recipe 'part' has no rule for tensor 'output.weight'; end it with a rule for '*'");
}

TEST(Method, IsAComposition) {
  EXPECT_EQ(find_method("rtn").composition(), "none + auto + nearest");
  EXPECT_EQ(message([] { find_method("gtpq"); }),
            "unknown method 'gtpq'; known are rtn, mse, imatrix, table, awq, smoothquant, gptq, descent, signround, "
            "blockwise");
}

}  // namespace
}  // namespace nibble
