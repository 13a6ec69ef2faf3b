// SPDX-License-Identifier: Apache-2.0
#include "terminal/word_wrap.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

std::string wrapped(std::string_view text, std::size_t columns, std::size_t piece) {
  WordWrap wrap(columns);
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += piece) out += wrap.push(text.substr(i, piece));
  return out + wrap.finish();
}

TEST(WordWrap, BreaksBetweenWordsHoweverTheTextIsCut) {
  for (const std::size_t piece : {1, 2, 5, 100}) {
    EXPECT_EQ(wrapped("one two three four", 8, piece), "one two\nthree\nfour");
    EXPECT_EQ(wrapped("one\n\n  two", 8, piece), "one\n\n  two");
    EXPECT_EQ(wrapped("ab cd ef", 2, piece), "ab\ncd\nef");
  }
}

TEST(WordWrap, ALineMayBeFull) { EXPECT_EQ(wrapped("1234 678 x", 8, 3), "1234 678\nx"); }

TEST(WordWrap, LongWordsAreLeftToTheTerminal) {
  EXPECT_EQ(wrapped("a 0123456789 b", 4, 100), "a 0123456789 b");
  std::string held;
  WordWrap wrap(10);
  for (int i = 0; i < 8; ++i) held += wrap.push("漢");
  EXPECT_FALSE(held.empty());  // does not wait for a blank
}

TEST(WordWrap, AWordThatIsShownInPartsIsNotBroken) {
  for (const std::size_t piece : {1, 2, 3, 100})
    EXPECT_EQ(wrapped("ab cdefgh x", 8, piece).find("cdef\n"), std::string::npos);
}

TEST(WordWrap, NothingIsBrokenWithoutATerminal) { EXPECT_EQ(wrapped("one two", 0, 1), "one two"); }

}  // namespace
}  // namespace nibble
