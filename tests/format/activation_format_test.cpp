// SPDX-License-Identifier: Apache-2.0
#include "format/activation_format.h"

#include <gtest/gtest.h>

#include <limits>

#include "nibble/error.h"

namespace nibble {
namespace {

TEST(ActivationFormat, NamesReadBackAsTheyAre) {
  for (const char* name : {"a8:g128", "a8:g64", "a8:g32", "a8:g128:wide", "a16:g128", "a8:token", "a8:token:asym",
                           "a8:static", "a8:static:asym"})
    EXPECT_EQ(activation_format_name(parse_activation_format(name)), name);
  for (const ActivationFormat format : activation_formats())
    EXPECT_EQ(parse_activation_format(activation_format_name(format)), format);
  const ActivationFormat format = parse_activation_format("a8:static:asym");
  EXPECT_TRUE(format.is_static());
  EXPECT_TRUE(format.is_asymmetric);
}

TEST(ActivationFormat, TheShortNameIsStoredWithItsSize) {
  EXPECT_EQ(parse_activation_format("a8"), kDefaultActivations);
  EXPECT_EQ(activation_format_name(parse_activation_format("a8")), "a8:g128:wide");
}

TEST(ActivationFormat, RefusesWhatItDoesNotKnow) {
  for (const char* name :
       {"", "a4", "a8:asym", "a8:g16", "a8:g256", "a8:g128:asym", "a8:token:wide", "a8:static:", "A8"}) {
    try {
      parse_activation_format(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_NE(std::string(error.what()).find("a8:static"), std::string::npos) << error.what();
    }
  }
}

TEST(ActivationFormat, StandsBehindAPlus) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(split_format("int8:row+a8:static").weights, "int8:row");
  EXPECT_EQ(split_format("int8:row+a8:static").parts, Parts{"a8:static"});
  EXPECT_EQ(split_format("q4_k").weights, "q4_k");
  EXPECT_TRUE(split_format("q4_k").parts.empty());
  EXPECT_EQ(split_format("q4_k+a8+a16:g128").parts, (Parts{"a8", "a16:g128"}));
  EXPECT_EQ(split_format("q4_k+").parts, Parts{""}) << "a part is missing, which whoever reads it says";
}

TEST(ActivationGrid, DefectsAreNamed) {
  EXPECT_FALSE(find_activation_grid_defect({0.02f, -128}));
  for (const float scale :
       {0.0f, -1.0f, 1e-38f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    EXPECT_TRUE(find_activation_grid_defect({scale, 0})) << scale;
  EXPECT_TRUE(find_activation_grid_defect({1, 128}));
  EXPECT_TRUE(find_activation_grid_defect({1, -129}));
}

}  // namespace
}  // namespace nibble
