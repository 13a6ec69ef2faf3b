// SPDX-License-Identifier: Apache-2.0
#include "base/file_signature.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

using namespace std::string_view_literals;

std::string_view what(std::string_view start) {
  const FileSignature* const known = find_signature(start);
  return known != nullptr ? known->what : "";
}

TEST(FileSignature, FilesAreToldByHowTheyBegin) {
  EXPECT_EQ(what("\x1f\x8b\x08"), "a gzip archive");
  EXPECT_EQ(what("GGUF\x03"), "a GGUF file, which holds weights");
  EXPECT_EQ(what("\xff\xfe\x00\x00"sv), "UTF-32 text");
  EXPECT_EQ(what("\xff\xfeO\x00"sv), "UTF-16 text");
  EXPECT_EQ(what(std::string(257, 'x') + "ustar"), "a tar archive");
  for (const std::string_view start : {""sv, "Once upon a time"sv, "\x1f"sv, "PK for short"sv})
    EXPECT_EQ(what(start), "") << start;
}

// A length of eight bytes and the brace of its JSON; a text may have a brace there, too.
TEST(FileSignature, SafetensorsAreALengthAndAHeader) {
  EXPECT_TRUE(has_safetensors_start("\x02\0\0\0\0\0\0\0{}"sv));
  EXPECT_TRUE(has_safetensors_start("\xff\xff\xff\xff\0\0\0\0{"sv));
  EXPECT_TRUE(has_safetensors_start("\x80\x02\0\0\0\0\0\0{"sv)) << "begins as pickles do";
  EXPECT_FALSE(has_safetensors_start("\x02\0\0\0\0\0\0\0"sv));
  EXPECT_FALSE(has_safetensors_start("\x02\0\0\0\0\0\0\0[]"sv));
  EXPECT_FALSE(has_safetensors_start("function{"sv));
}

}  // namespace
}  // namespace nibble
