// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/recipe_json.h"

#include <gtest/gtest.h>

#include "nibble/error.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

TensorFacts matrix(std::string name, std::uint64_t cols) {
  TensorFacts facts;
  facts.name = std::move(name);
  facts.rows = 64;
  facts.cols = cols;
  facts.num_layers = 8;
  return facts;
}

TEST(RecipeJson, IsReadAsItWasWritten) {
  for (const char* name : {"q4_k_m", "mix:q2_k", "int4:g32:asym", "q8_0", "f16"}) {
    const Recipe recipe = find_recipe(name);
    const std::string json = recipe_to_json(recipe);
    EXPECT_EQ(recipe_to_json(recipe_from_json(json, "test")), json) << name;
  }
}

TEST(RecipeJson, ErrorsNameSourceAndRule) {
  const auto error = [](const char* json) { return error_of([&] { recipe_from_json(json, "r.json"); }); };
  EXPECT_EQ(error("["), "r.json: text is not JSON at offset 1");
  EXPECT_EQ(error("[]"), "r.json: not a recipe: no JSON object; 'nibble recipe show' prints one to start from");
  EXPECT_EQ(error("{}"), "r.json: a recipe needs \"rules\", a list with at least one rule");
  EXPECT_EQ(error(R"({"rules": [{"format": "q8_0"}]})"),
            "r.json: rule 1 lacks \"tensors\", a pattern such as \"*.attn_v.weight\"");
  EXPECT_EQ(error(R"({"rules": [{"tensors": "*", "format": "q8_0"}, {"tensors": "*"}]})"),
            "r.json: rule 2 lacks \"format\"");
  EXPECT_EQ(error(R"({"rules": [{"tensors": "*", "format": "q8_0", "if": ""}]})"),
            "r.json: rule 1: unknown key \"if\"; known are tensors, when, format, method");
  EXPECT_EQ(error(R"({"rules": [{"tensors": "*", "format": "q8_0", "method": "magic"}]})"),
            "r.json: rule 1: unknown method 'magic'; known are rtn, mse, imatrix, table, awq, smoothquant, gptq, "
            "descent, signround, blockwise");
  EXPECT_EQ(error(R"({"rules": [{"tensors": 3, "format": "q8_0"}]})"), "r.json: rule 1: \"tensors\" must be a string");
  // What the reader of all JSON refuses, or takes for no text, is so here.
  EXPECT_EQ(error(R"({"rules": [{"tensors": "*", "format": "q8_0", "format": "q4_0"}]})"),
            "r.json: JSON has the key 'format' a second time at offset 46");
  EXPECT_EQ(error(R"({"name": 1e999, "rules": [{"tensors": "*", "format": "q8_0"}]})"),
            "r.json: recipe: \"name\" must be a string");
  EXPECT_EQ(error(R"({"file_type": 4294967311, "rules": [{"tensors": "*", "format": "q8_0"}]})"),
            "r.json: \"file_type\" must be a whole number of at most 32 bits");
  EXPECT_EQ(error("\xef\xbb\xbf{\"rules\": [{\"tensors\": \"*\", \"format\": \"q8_0\"}]}"), "no error");
}

// A recipe that was printed and edited does not pass for the mix that it was.
TEST(RecipeJson, EditedRecipesAreTold) {
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

TEST(RecipeJson, ItsFormatIsTheDefault) {
  const Recipe recipe = recipe_from_json(
      R"({"name": "mine", "format": "q4_0", "rules": [{"tensors": "*.attn_v.weight", "format": "q8_0"}]})", "r.json");
  EXPECT_EQ(assign(recipe, matrix("blk.0.ffn_up.weight", 256), find_format("f16")).format->name(), "q4_0");
  EXPECT_EQ(assign(recipe, matrix("blk.0.attn_v.weight", 256), find_format("f16")).format->name(), "q8_0");
}

}  // namespace
}  // namespace nibble
