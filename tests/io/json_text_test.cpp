// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "file_builder.h"
#include "io/json_text.h"

namespace nibble {
namespace {

std::string message_of(std::string_view text) {
  return error_of([&] { parse_json(text, "config.json"); }, "no such path");
}

TEST(JsonText, TextThatBeginsWithAZeroByteStaysText) {
  const std::string text = R"({"\u0000k":"\u0000x","y":"a\"\u0000","z":["\u0000"],"n":NaN})";
  const auto json = parse_json(text, "t.json");
  EXPECT_FALSE(is_unheld_number(json["z"][0].get<std::string>()));
  EXPECT_TRUE(is_unheld_number(json["n"].get<std::string>()));
  EXPECT_EQ(dump_json(json), text);
}

TEST(JsonText, KeepsTheOrderOfKeys) {
  EXPECT_EQ(parse_json(R"({"b":1,"a":{"d":[1.5],"c":null}})", "x").dump(), R"({"b":1,"a":{"d":[1.5],"c":null}})");
}

TEST(JsonText, SaysWhereItIsWrong) {
  EXPECT_EQ(message_of(""), "config.json: text is not JSON at offset 0");
  EXPECT_EQ(message_of("{\"a\":1,}"), "config.json: text is not JSON at offset 7");
  EXPECT_EQ(message_of(std::string_view("{}\0x", 4)), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of("[\"\xed\xa0\x80\"]"), "config.json: text is not UTF-8 at offset 2");
  EXPECT_EQ(message_of(R"({"a":{"x":1},"b":{"x":1},"a":2})"),
            "config.json: JSON has the key 'a' a second time at offset 25");
  EXPECT_EQ(message_of("[1,2"), "config.json: text is not JSON at offset 4");
  EXPECT_EQ(message_of("[01]"), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of("[1.]"), "config.json: text is not JSON at offset 3");
  EXPECT_EQ(message_of("[1 2]"), "config.json: text is not JSON at offset 3");
  EXPECT_EQ(message_of("[tru]"), "config.json: text is not JSON at offset 4");
  EXPECT_EQ(message_of("[-x]"), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of("[nan]"), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of("{a:1}"), "config.json: text is not JSON at offset 1");
  EXPECT_EQ(message_of("\"a"), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of("\"a\nb\""), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of(R"("\x")"), "config.json: text is not JSON at offset 2");
  EXPECT_EQ(message_of(R"("\u12g4")"), "config.json: text is not JSON at offset 5");
  EXPECT_EQ(message_of(R"("\ud800")"), "config.json: text is not JSON at offset 7");
  EXPECT_EQ(message_of(R"("\udc00")"), "config.json: text is not JSON at offset 7");
  EXPECT_EQ(message_of("{} {}"), "config.json: text is not JSON at offset 3");
  EXPECT_EQ(message_of(R"({"a\u0062":1,"ab":2})"), "config.json: JSON has the key 'ab' a second time at offset 13");
}

TEST(JsonText, AByteOrderMarkIsNoPartOfTheText) {
  EXPECT_EQ(parse_json("\xEF\xBB\xBF{\"a\":1}", "x").dump(), R"({"a":1})");
  EXPECT_EQ(message_of("\xEF\xBB\xBF{\"a\":1,}"), "config.json: text is not JSON at offset 10");  // counted in the file
}

// What Python writes, and whole numbers beyond 64 bits, matter to nobody who does not read them, and are written again
// as they were.
TEST(JsonText, NumbersOfAnySizeAreRead) {
  const auto json = parse_json(
      R"({"a":1000000000000000019884624838656,"b":NaN,"c":[-Infinity,Infinity],"d":1e999,"e":18446744073709551615,)"
      R"("f":-9223372036854775808,"g":1e-400,"h":-99999999999999999999})",
      "x");
  EXPECT_EQ(json["a"].get<double>(), 1e30);
  EXPECT_FALSE(json["b"].is_number());
  EXPECT_TRUE(is_unheld_number(json["b"].get<std::string>()));
  EXPECT_EQ(json["e"].get<std::uint64_t>(), 18446744073709551615u);
  EXPECT_EQ(json["f"].get<std::int64_t>(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(json["g"].get<double>(), 0.0);
  EXPECT_EQ(json["h"].get<double>(), -1e20);
  EXPECT_EQ(
      dump_json(json),
      R"({"a":1e+30,"b":NaN,"c":[-Infinity,Infinity],"d":1e999,"e":18446744073709551615,"f":-9223372036854775808,"g":0.0,"h":-1e+20})");
  EXPECT_EQ(parse_json(std::string(400, '9'), "x").get<std::string>(), '\0' + std::string(400, '9'));
}

// The judgement leaves alone what it has nothing to say about.
TEST(JsonText, PlainTextIsTheSameText) {
  const std::string text =
      " {\"\\\"\\u00e9\\ud83d\\ude00\" : [ -0, 1.5e-3, true, false, null, \"\\\\\" ] , \"\" : {} }\r\n";
  EXPECT_EQ(plain_json(text, "x"), text);
}

TEST(JsonText, SaysWhatLiesInPlaceOfJson) {
  EXPECT_EQ(message_of("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
            "config.json: text is not JSON at offset 0; this is a Git LFS pointer, not the file that it stands for; "
            "fetch that with 'git lfs pull', or "
            "download it again");
  EXPECT_NE(message_of("\n<!DOCTYPE html><html>").find("a web page in place of the file"), std::string::npos);
}

TEST(JsonText, NestingIsBounded) {
  EXPECT_NO_THROW(parse_json(std::string(64, '[') + std::string(64, ']'), "x"));
  EXPECT_EQ(message_of(std::string(65, '[') + std::string(65, ']')),
            "config.json: JSON is nested deeper than 64 levels at offset 64");
  EXPECT_EQ(message_of(std::string(1000000, '[')), "config.json: JSON is nested deeper than 64 levels at offset 64");
}

}  // namespace
}  // namespace nibble
