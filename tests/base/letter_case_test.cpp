// SPDX-License-Identifier: Apache-2.0
#include "base/letter_case.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(LetterCase, OnlyTheLettersOfAsciiChange) {
  EXPECT_EQ(lower_case("Q4_K:AZaz[@`{"), "q4_k:azaz[@`{");
  EXPECT_EQ(lower_case("\xc3\x84\xc1\xda"), "\xc3\x84\xc1\xda");
  EXPECT_EQ(lower_case(""), "");
}

}  // namespace
}  // namespace nibble
