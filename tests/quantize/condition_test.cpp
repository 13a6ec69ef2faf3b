// SPDX-License-Identifier: Apache-2.0
#include "quantize/condition.h"

#include <gtest/gtest.h>

#include "nibble/error.h"

namespace nibble {
namespace {

TEST(Condition, ReadsAndPrintsEveryTerm) {
  for (const char* text :
       {"layer<2", "layer<n/8", "layer in n/8..7n/8", "layer more_bits", "gqa>=4", "experts>=4", "experts=8",
        "layers=80", "cols%256", "importance", "no importance", "tied", "stacked", "tied, cols%256", ""})
    EXPECT_EQ(Condition::parse(text).text(), text);
  EXPECT_EQ(Condition::parse(" tied ,gqa>=2,").text(), "tied, gqa>=2");
}

TEST(Condition, RefusesWhatItDoesNotUnderstand) {
  for (const char* text : {"layer", "layer<", "layer<x", "layer<0", "gqa>=4x", "tiedd", "layer<n/0", "cols%"}) {
    try {
      Condition::parse(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_NE(std::string(error.what()).find("'" + std::string(text) + "' is not understood"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Condition, ComparesLayersWithWholeNumberDivision) {
  const auto holds = [](const char* text, std::uint64_t layer, std::uint64_t num_layers) {
    TensorFacts facts;
    facts.layer = layer;
    facts.num_layers = num_layers;
    return Condition::parse(text).holds(facts);
  };
  EXPECT_TRUE(holds("layer<n/8", 1, 16));
  EXPECT_FALSE(holds("layer<n/8", 2, 16));
  EXPECT_FALSE(holds("layer<n/8", 0, 6));  // 6 / 8 is 0
  EXPECT_TRUE(holds("layer in n/8..7n/8", 2, 16));
  EXPECT_FALSE(holds("layer in n/8..7n/8", 14, 16));
}

// Layers that get more bits, worked out by hand from the rule for 6, 16 and 32 layers.
TEST(Condition, MoreBitsPicksTheEndsAndEveryThirdBetween) {
  const auto picked = [](std::uint64_t num_layers) {
    std::string result;
    for (std::uint64_t i = 0; i < num_layers; ++i)
      if (wants_more_bits(i, num_layers)) result += std::to_string(i) + " ";
    return result;
  };
  EXPECT_EQ(picked(6), "2 5 ");
  EXPECT_EQ(picked(16), "0 1 4 7 10 13 14 15 ");
  EXPECT_EQ(picked(32), "0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31 ");
}

TEST(Pattern, KnowsStarsQuestionMarksAndAlternatives) {
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_TRUE(matches_pattern("*.attn_v.weight", "blk.12.attn_v.weight"));
  EXPECT_FALSE(matches_pattern("*.attn_v.weight", "blk.12.attn_v.bias"));
  EXPECT_TRUE(matches_pattern("blk.?.ffn_*.weight", "blk.3.ffn_down.weight"));
  EXPECT_FALSE(matches_pattern("blk.?.ffn_*.weight", "blk.13.ffn_down.weight"));
  EXPECT_TRUE(matches_pattern("a*b*c", "aXbbYc"));
  EXPECT_FALSE(matches_pattern("a*b*c", "aXbbY"));
  EXPECT_TRUE(matches_pattern("x|*.weight", "y.weight"));
  EXPECT_FALSE(matches_pattern("x|z", "y"));
  EXPECT_FALSE(matches_pattern("", "y"));
}

}  // namespace
}  // namespace nibble
