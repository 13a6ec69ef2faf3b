// SPDX-License-Identifier: Apache-2.0
#include "report/table.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

Table example() {
  Table table({{"format"}, {"bytes", Align::right}});
  table.add({"q4_k", "3.35 MB"});
  table.add({"格式", "7 ± 1"});
  table.add({"a|b"});
  return table;
}

TEST(Table, AlignsByDisplayWidth) {
  EXPECT_EQ(example().text(),
            "format    bytes\n"
            "──────  ───────\n"
            "q4_k    3.35 MB\n"
            "格式      7 ± 1\n"
            "a|b\n");
}

TEST(Table, HasAPlainForm) {
  EXPECT_EQ(example().text({.unicode = false}),
            "format    bytes\n"
            "------  -------\n"
            "q4_k    3.35 MB\n"
            "??      7 +/- 1\n"
            "a|b\n");
}

TEST(Table, HasAMarkdownForm) {
  EXPECT_EQ(example().markdown(),
            "| format | bytes |\n"
            "|---|---:|\n"
            "| q4_k | 3.35 MB |\n"
            "| 格式 | 7 ± 1 |\n"
            "| a\\|b |  |\n");
}

TEST(Table, MeasuresWidths) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("σ±"), 2u);
  EXPECT_EQ(display_width("格式"), 4u);
  EXPECT_EQ(display_width("e\u0301"), 1u);
}

}  // namespace
}  // namespace nibble
