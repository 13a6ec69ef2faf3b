// SPDX-License-Identifier: Apache-2.0
#include "base/byte_reader.h"

#include <gtest/gtest.h>

#include <array>

namespace nibble {
namespace {

TEST(ByteReader, ReadsLittleEndianInOrder) {
  const std::array<unsigned char, 7> raw = {0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xff};
  ByteReader reader(std::as_bytes(std::span(raw)), "x.bin");
  EXPECT_EQ(reader.read<std::uint16_t>("a"), 0x1234);
  EXPECT_EQ(reader.read<std::uint32_t>("b"), 0x12345678u);
  EXPECT_EQ(reader.offset(), 6u);
  EXPECT_EQ(reader.remaining(), 1u);
}

TEST(ByteReader, PastTheEndSaysWhereAndHowMuch) {
  const std::array<unsigned char, 3> raw = {1, 2, 3};
  ByteReader reader(std::as_bytes(std::span(raw)), "x.bin");
  reader.read<std::uint8_t>("first");
  try {
    reader.take(~std::uint64_t{0}, "the name");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::corrupt);
    EXPECT_STREQ(e.what(), "x.bin: file ends inside the name at offset 1: needs 18446744073709551615 bytes, has 2");
  }
}

}  // namespace
}  // namespace nibble
