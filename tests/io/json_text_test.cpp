// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "file_builder.h"
#include "io/json_text.h"

namespace nibble {
namespace {

std::string message_of(std::string_view text) {
  return error_of([&] { parse_json(text, "config.json"); }, "no such path");
}

TEST(JsonText, KeepsTheOrderOfKeys) { EXPECT_EQ(parse_json(R"({"b":1,"a":{"d":[1.5],"c":null}})", "x").dump(), R"({"b":1,"a":{"d":[1.5],"c":null}})"); }

TEST(JsonText, SaysWhereItIsWrong) {
  EXPECT_EQ(message_of(""), "config.json: text is not JSON at offset 0");
  EXPECT_EQ(message_of("{\"a\":1,}"), "config.json: text is not JSON at offset 7");
  EXPECT_EQ(message_of(std::string_view("{}\0x", 4)), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of("[\"\xed\xa0\x80\"]"), "config.json: text is not UTF-8 at offset 2");
  EXPECT_EQ(message_of(R"({"a":{"x":1},"b":{"x":1},"a":2})"), "config.json: JSON has the key 'a' twice");
  EXPECT_EQ(message_of("1e999"), "config.json: JSON has a number out of range");
}

TEST(JsonText, NestingIsBounded) {
  EXPECT_NO_THROW(parse_json(std::string(64, '[') + std::string(64, ']'), "x"));
  EXPECT_EQ(message_of(std::string(65, '[') + std::string(65, ']')), "config.json: JSON is nested deeper than 64 levels");
  EXPECT_EQ(message_of(std::string(1000000, '[')), "config.json: JSON is nested deeper than 64 levels");
}

}  // namespace
}  // namespace nibble
