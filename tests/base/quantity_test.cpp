// SPDX-License-Identifier: Apache-2.0
#include "base/quantity.h"

#include <gtest/gtest.h>

#include "nibble/error.h"

namespace nibble {
namespace {

TEST(Quantity, BytesInBothSystems) {
  EXPECT_EQ(parse_bytes("24GB", "x"), 24'000'000'000u);
  EXPECT_EQ(parse_bytes("24gib", "x"), std::uint64_t{24} << 30);
  EXPECT_EQ(parse_bytes("1.5 MiB", "x"), 3u << 19);
  EXPECT_EQ(parse_bytes("512", "x"), 512u);
  EXPECT_EQ(parse_bytes("7k", "x"), 7000u);
}

TEST(Quantity, WhatIsNoAmountIsRefused) {
  for (const char* text : {"", "GB", "-1GB", "24XB", "1e30TB", "nan", "24GBx", "2 4GB"}) {
    try {
      parse_bytes(text, "--memory");
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()),
                std::string("--memory takes an amount of bytes such as 24GB or 512MiB: '") + text + "'");
    }
  }
}

TEST(Quantity, MoreThanAnyMachineHasIsNamed) {
  try {
    parse_bytes("99999999TB", "--memory");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "--memory is more bytes than there are on any machine: '99999999TB'");
  }
}

TEST(Quantity, CountsNeedALetter) {
  EXPECT_EQ(parse_count("70B"), 70'000'000'000u);
  EXPECT_EQ(parse_count("1.24b"), 1'240'000'000u);
  EXPECT_EQ(parse_count("350M"), 350'000'000u);
  EXPECT_EQ(parse_count("70"), std::nullopt);
  EXPECT_EQ(parse_count("llama"), std::nullopt);
}

}  // namespace
}  // namespace nibble
