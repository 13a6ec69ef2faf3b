// SPDX-License-Identifier: Apache-2.0
#include "terminal/line_buffer.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(LineBuffer, MovesByWhatIsSeen) {
  LineBuffer buffer("ae\xcc\x81漢");  // e with a combining acute accent
  EXPECT_TRUE(buffer.left());
  EXPECT_EQ(buffer.cursor(), 4U);
  EXPECT_TRUE(buffer.left());
  EXPECT_EQ(buffer.cursor(), 1U);
  EXPECT_TRUE(buffer.right());
  EXPECT_EQ(buffer.cursor(), 4U);
  EXPECT_TRUE(buffer.backspace());
  EXPECT_EQ(buffer.text(), "a漢");
  EXPECT_TRUE(buffer.delete_next());
  EXPECT_EQ(buffer.text(), "a");
  EXPECT_FALSE(buffer.delete_next());
  EXPECT_TRUE(buffer.left());
  EXPECT_FALSE(buffer.left());
  EXPECT_FALSE(buffer.backspace());
}

TEST(LineBuffer, MovesOverWholeClusters) {
  const std::string family = "\U0001F468\u200D\U0001F469\u200D\U0001F467", flag = "\U0001F1E9\U0001F1EA",
                    syllable = "\u1112\u1161\u11ab", thumb = "\U0001F44D\U0001F3FD";
  LineBuffer buffer("a" + flag + flag + family + syllable + thumb);
  EXPECT_TRUE(buffer.backspace());
  EXPECT_EQ(buffer.text(), "a" + flag + flag + family + syllable);
  EXPECT_TRUE(buffer.backspace());
  EXPECT_TRUE(buffer.left());
  EXPECT_EQ(buffer.cursor(), 1 + 2 * flag.size());
  EXPECT_TRUE(buffer.left());
  EXPECT_EQ(buffer.cursor(), 1 + flag.size());
  EXPECT_TRUE(buffer.delete_next());
  EXPECT_EQ(buffer.text(), "a" + flag + family);
  EXPECT_TRUE(buffer.right());
  EXPECT_EQ(buffer.cursor(), buffer.text().size());
  buffer.set("one\n" + flag + "x");
  EXPECT_TRUE(buffer.left());
  EXPECT_TRUE(buffer.left());
  EXPECT_EQ(buffer.cursor(), 4U);
  EXPECT_TRUE(buffer.left());
  EXPECT_EQ(buffer.cursor(), 3U);  // before the line end
}

TEST(LineBuffer, WordsEndAtWhiteSpace) {
  LineBuffer buffer("one two-three  four");
  buffer.word_left();
  EXPECT_EQ(buffer.cursor(), 15U);
  buffer.word_left();
  EXPECT_EQ(buffer.cursor(), 4U);
  buffer.word_right();
  EXPECT_EQ(buffer.cursor(), 13U);
  EXPECT_TRUE(buffer.delete_word_left());
  EXPECT_EQ(buffer.text(), "one   four");
  buffer.end();
  EXPECT_TRUE(buffer.yank());
  EXPECT_EQ(buffer.text(), "one   fourtwo-three");
}

TEST(LineBuffer, LinesAreMovedBetweenByColumn) {
  LineBuffer buffer("long line\nx\n漢字 wide");
  EXPECT_TRUE(buffer.up());
  EXPECT_EQ(buffer.cursor(), 11U);  // the end of "x"
  EXPECT_TRUE(buffer.up());
  EXPECT_EQ(buffer.cursor(), 1U);
  EXPECT_FALSE(buffer.up());
  buffer.end();
  EXPECT_EQ(buffer.cursor(), 9U);
  EXPECT_TRUE(buffer.down());
  EXPECT_TRUE(buffer.down());
  EXPECT_FALSE(buffer.down());
  buffer.set("abc\n漢字");
  buffer.up();
  EXPECT_EQ(buffer.cursor(), 3U);
  EXPECT_TRUE(buffer.down());  // column 3 lies within a wide character: before it
  EXPECT_EQ(buffer.cursor(), 7U);
}

TEST(LineBuffer, DeletesWithinALine) {
  LineBuffer buffer("first\nsecond");
  EXPECT_TRUE(buffer.delete_to_start());
  EXPECT_EQ(buffer.text(), "first\n");
  EXPECT_FALSE(buffer.delete_to_start());
  EXPECT_TRUE(buffer.up());
  buffer.home();
  EXPECT_TRUE(buffer.delete_to_end());
  EXPECT_EQ(buffer.text(), "\n");
  EXPECT_TRUE(buffer.delete_to_end());  // the line end itself
  EXPECT_EQ(buffer.text(), "");
  EXPECT_FALSE(buffer.delete_to_end());
}

TEST(LineBuffer, ATabIsACharacter) {
  LineBuffer buffer("ab\tc");
  buffer.backspace();
  buffer.backspace();
  EXPECT_EQ(buffer.text(), "ab");
}

TEST(LineBuffer, HoldsOnlyText) {
  LineBuffer buffer;
  buffer.insert("a\xff");
  EXPECT_EQ(buffer.text(), "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace nibble
