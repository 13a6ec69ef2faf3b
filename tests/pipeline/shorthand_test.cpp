// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/shorthand.h"

#include <gtest/gtest.h>

#include "format/format.h"

namespace nibble {
namespace {

TEST(Shorthand, TwoAndThreeBitsAreMadeAsTheyLoseLeast) {
  EXPECT_EQ(resolve_shorthand("int2", true), "int2:half");
  EXPECT_EQ(resolve_shorthand("INT2:G64", true), "int2:g64:half");
  EXPECT_EQ(resolve_shorthand("int2:g64", false), "int2:g64:signed");
  EXPECT_EQ(resolve_shorthand("int3:row:f16", true), "int3:row:f16:signed");
  EXPECT_EQ(resolve_shorthand("int3:g128+a8:static", false), "int3:g128:signed+a8:static");
  for (const char* const spelling : {"int2:g64", "int2", "int3:g32:f32", "int3"})
    for (const bool holds_halves : {false, true})
      EXPECT_NO_THROW(find_format(resolve_shorthand(spelling, holds_halves))) << spelling;
}

TEST(Shorthand, WhateverSaysWherePointsLieStays) {
  for (const char* const spelling :
       {"int2:sym", "int2:g64:asym", "int3:bias:g32", "int2:half", "int3:g128:signed", "int2:high", "int3:g64:s6",
        "int2:e8m0", "uint2", "int4:g128", "int1:asym", "q2_k", "mix:q2_k", "int2.json", "int22:x", "", "+a8"})
    EXPECT_EQ(resolve_shorthand(spelling, true), spelling);
}

}  // namespace
}  // namespace nibble
