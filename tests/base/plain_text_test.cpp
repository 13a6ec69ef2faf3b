// SPDX-License-Identifier: Apache-2.0
#include "base/plain_text.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

std::string utf16(std::string_view text, bool big) {
  std::string result;
  for (const char c : text) result += big ? std::string{'\0', c} : std::string{c, '\0'};
  return result;
}

TEST(PlainText, IsTakenAsItIs) {
  for (const std::string_view text :
       {"Once upon a time.", "", "{ not json }", "{braces} in a template\nand more", "[1] a footnote", "a\tb\r\nc\f",
        "PAR for the course", "BZ", "Rar! as the lion said", "tjgg", "function{ in Latin letters }",
        "\xd0\x9f\xd1\x80\xd0\xb8", "caf\xe9 au lait, all of it in Latin-1"})
    EXPECT_EQ(foreign_text_kind(text), "") << text;
}

TEST(PlainText, NamesWhatIsGivenInItsPlace) {
  struct Case {
    std::string bytes, word;
  };
  const std::string story = "It was a dark and stormy night, and the rain fell in torrents.";
  for (const Case& test : {
           Case{std::string("\xff\xfe") + utf16(story, false), "UTF-16"},
           Case{std::string("\xfe\xff") + utf16(story, true), "UTF-16"},
           Case{utf16(story, false), "UTF-16"},
           Case{utf16(story, true), "UTF-16"},
           Case{"PAR1" + std::string(20, '\x15'), "Parquet"},
           Case{"\x1f\x8b\x08" + story, "gzip"},
           Case{std::string("PK\x03\x04") + story, "a ZIP archive; unpack it first"},
           Case{std::string("\x28\xb5\x2f\xfd") + story, "Zstandard"},
           Case{"BZh91AY" + story, "bzip2"},
           Case{std::string("\x80\x04\x95") + story, "pickle"},
           Case{std::string("7z\xbc\xaf\x27\x1c") + story, "7-Zip"},
           Case{"Rar!\x1a\x07" + std::string(20, '\0'), "binary data"},
           Case{"GGUF" + std::string(20, '\0'), "GGUF"},
           Case{std::string("\x20\x01\0\0\0\0\0\0{\"a\":1}", 15), "safetensors"},
           Case{"%PDF-1.7\n" + story, "PDF"},
           Case{story + std::string(1, '\0') + story, "binary"},
           Case{std::string(40, '\x02') + story, "binary"},
           Case{"{\"text\": \"" + story + "\"}\n{\"text\": \"b\"}\n", "JSON lines"},
           Case{"\n{\"text\": \"" + story + "\"}\r\n", "JSON lines"},
           Case{"[\n {\"text\": \"" + story + "\"}\n]\n", "JSON;"},
           Case{"{\n \"text\": \"" + story + "\"\n}\n", "JSON;"},
       })
    EXPECT_NE(foreign_text_kind(test.bytes).find(test.word), std::string_view::npos)
        << test.word << ": " << foreign_text_kind(test.bytes);
}

TEST(PlainText, LongFilesAreJudgedByTheirStart) {
  std::string lines;
  while (lines.size() < (std::size_t{1} << 20) + 100) lines += "{\"text\": \"" + std::string(1 << 18, 'a') + "\"}\n";
  EXPECT_NE(foreign_text_kind(lines).find("JSON lines"), std::string_view::npos);
  EXPECT_EQ(foreign_text_kind(std::string(std::size_t{3} << 20, 'a')), "");
}

TEST(PlainText, LosesItsByteOrderMark) {
  std::string text = "\xef\xbb\xbfOnce";
  EXPECT_TRUE(drop_byte_order_mark(text));
  EXPECT_EQ(text, "Once");
  EXPECT_FALSE(drop_byte_order_mark(text));
}

TEST(PlainText, CountsWhatIsNoUtf8) {
  EXPECT_EQ(count_invalid_utf8("plain \xef\xbf\xbd"), 0u);  // the replacement itself
  EXPECT_EQ(count_invalid_utf8("caf\xe9, na\xefve"), 2u);
  EXPECT_EQ(count_invalid_utf8("\xef\xbf\xbd\xff"), 1u);
}

}  // namespace
}  // namespace nibble
