// SPDX-License-Identifier: Apache-2.0
#include "terminal/text_layout.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

using Rows = std::vector<std::string>;

TEST(TextLayout, WidthsAreThoseOfTerminals) {
  EXPECT_EQ(character_width(U'a'), 1);
  EXPECT_EQ(character_width(U'ä'), 1);
  EXPECT_EQ(character_width(U'漢'), 2);
  EXPECT_EQ(character_width(U'😀'), 2);
  EXPECT_EQ(character_width(0x0301), 0);
  EXPECT_EQ(character_width(U'\n'), 0);
  EXPECT_EQ(text_width("e\xcc\x81漢"), 3U);
}

TEST(TextLayout, RowsBreakWhereTheTerminalEnds) {
  const TextLayout layout = lay_out("> ", ". ", "abcdef\ngh", 3, 5);
  EXPECT_EQ(layout.rows, (Rows{"> abc", "def", ". gh"}));
  EXPECT_EQ(layout.cursor_row, 1U);  // behind a full row: at the beginning of the next
  EXPECT_EQ(layout.cursor_column, 0U);
}

TEST(TextLayout, TheCursorBehindAFullRowHasARow) {
  const TextLayout layout = lay_out("> ", ". ", "abc", 3, 5);
  EXPECT_EQ(layout.rows, (Rows{"> abc", ""}));
  EXPECT_EQ(layout.cursor_row, 1U);
  EXPECT_EQ(layout.cursor_column, 0U);
}

TEST(TextLayout, WideCharactersAreNotCut) {
  const TextLayout layout = lay_out("", "", "ab漢字", 8, 3);
  EXPECT_EQ(layout.rows, (Rows{"ab", "漢", "字"}));
  EXPECT_EQ(layout.cursor_row, 2U);
  EXPECT_EQ(layout.cursor_column, 2U);
}

// Emoji that a joiner makes one stay in one row, and a cursor within them stands before them.
TEST(TextLayout, ClustersAreNotCut) {
  const std::string couple = "\U0001F468\u200D\U0001F469";
  const TextLayout layout = lay_out("", "", "abc" + couple + "d", 7, 6);
  EXPECT_EQ(layout.rows, (Rows{"abc", couple + "d"}));
  EXPECT_EQ(layout.cursor_row, 0U);
  EXPECT_EQ(layout.cursor_column, 3U);
  EXPECT_EQ(shown_width("\x1b[1mab\x1b[0m" + couple), 6U);
}

TEST(TextLayout, ColoursTakeNoRoomAndControlsAreNotSent) {
  const TextLayout layout = lay_out("\x1b[1m>\x1b[0m ", "", "a\x07\tb", 4, 10);
  EXPECT_EQ(layout.rows, (Rows{"\x1b[1m>\x1b[0m a\xef\xbf\xbd  b"}));
  EXPECT_EQ(layout.cursor_column, 7U);
}

}  // namespace
}  // namespace nibble
