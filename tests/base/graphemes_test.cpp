// SPDX-License-Identifier: Apache-2.0
#include "base/graphemes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nibble {
namespace {

std::vector<std::string> clusters(const std::string& text) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = grapheme_end(text, at);
    found.push_back(text.substr(at, end - at));
    at = end;
  }
  return found;
}

using Texts = std::vector<std::string>;

// Examples of Unicode Standard Annex 29, table 1a and the rules of section 3.1.1.
TEST(Graphemes, EndAsTheAnnexSays) {
  EXPECT_EQ(clusters(""), Texts{});
  EXPECT_EQ(clusters("ab"), (Texts{"a", "b"}));
  EXPECT_EQ(clusters("\r\n\n"), (Texts{"\r\n", "\n"}));                                      // GB3, GB4
  EXPECT_EQ(clusters("g\u0308a"), (Texts{"g\u0308", "a"}));                                  // GB9
  EXPECT_EQ(clusters("\n\u0308"), (Texts{"\n", "\u0308"}));                                  // GB4
  EXPECT_EQ(clusters("\u1100\u1161\u11a8\u1100"), (Texts{"\u1100\u1161\u11a8", "\u1100"}));  // GB6, GB7, GB8
  EXPECT_EQ(clusters("\uac00\u11a8\uac01"), (Texts{"\uac00\u11a8", "\uac01"}));
  EXPECT_EQ(clusters("\u0e33\u0e01\u0e33"), (Texts{"\u0e33", "\u0e01\u0e33"}));  // GB9a
  EXPECT_EQ(clusters("\u0937\u093f"), (Texts{"\u0937\u093f"}));
  EXPECT_EQ(clusters("\u0600\u0661"), (Texts{"\u0600\u0661"}));  // GB9b
  // GB11: a family of four, and what a joiner between letters does not join.
  const std::string family = "\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466";
  EXPECT_EQ(clusters(family + "x"), (Texts{family, "x"}));
  EXPECT_EQ(clusters("a\u200Db"), (Texts{"a\u200D", "b"}));
  EXPECT_EQ(clusters("\U0001F44D\U0001F3FD"), (Texts{"\U0001F44D\U0001F3FD"}));
  // GB12, GB13: flags are pairs.
  EXPECT_EQ(clusters("\U0001F1E9\U0001F1EA\U0001F1EB\U0001F1F7\U0001F1E9"),
            (Texts{"\U0001F1E9\U0001F1EA", "\U0001F1EB\U0001F1F7", "\U0001F1E9"}));
}

}  // namespace
}  // namespace nibble
