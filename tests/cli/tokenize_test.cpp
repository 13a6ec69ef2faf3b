// SPDX-License-Identifier: Apache-2.0
//
// nibble tokenize: texts to ids and back.
#include <filesystem>
#include <sstream>

#include "cli/command.h"
#include "model/tokenizer/tokenizer.h"

namespace nibble {
namespace {

class Tokenize : public ::testing::Test {
 protected:
  CommandResult run(const std::string& arguments, int code = 0) {
    CommandResult result = nibble_command(scratch_, "tokenize " + arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    return result;
  }
  ScratchDirectory scratch_;
};

Tokenizer bundled() { return Tokenizer::from_checkpoint(Checkpoint::open(kTale)); }

std::string joined(const std::vector<std::int32_t>& ids) {
  std::string text;
  for (const std::int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text + "\n";
}

TEST_F(Tokenize, TextsFromEverywhereBecomeTheSameIds) {
  const Tokenizer tokenizer = bundled();
  const std::string text = "Once upon a time, there was Tom's cat.";
  const std::string expected = joined(tokenizer.encode(text));
  scratch_.write("text.txt", text);
  EXPECT_EQ(run(kTale + " \"" + text + "\"").out, expected);
  EXPECT_EQ(run(kTale + "/tokenizer.json \"" + text + "\"").out, expected);
  EXPECT_EQ(run(kTale + " --text text.txt").out, expected);
  EXPECT_EQ(run(kTale + " --count --text text.txt").out, std::to_string(tokenizer.encode(text).size()) + "\n");
  EXPECT_EQ(run(kTale + " --bare \"" + text + "\"").out, joined(tokenizer.encode(text, {.add_special = false})));
  EXPECT_EQ(run(kTale + " --bare ''").out, "\n");
}

TEST_F(Tokenize, ControlTokensAreTokensUnlessToldOtherwise) {
  const Tokenizer tokenizer = bundled();
  const std::string end = tokenizer.token_text(*tokenizer.eos());
  const std::string argument = " --bare 'a" + end + "'";
  EXPECT_EQ(run(kTale + argument).out,
            joined(tokenizer.encode("a" + end, {.add_special = false, .parse_special = true})));
  const std::string plain = run(kTale + " --no-special" + argument).out;
  EXPECT_EQ(plain, joined(tokenizer.encode("a" + end, {.add_special = false})));
  EXPECT_NE(plain, run(kTale + argument).out);
  const std::string ids = std::to_string(*tokenizer.eos());
  EXPECT_EQ(run(kTale + " --decode " + ids).out, end + "\n");
  EXPECT_EQ(run(kTale + " --decode --no-special " + ids).out, "\n");
}

TEST_F(Tokenize, PiecesSayWhereTheyStand) {
  const std::string text = "Tom\xE2\x80\x99s caf\xC3\xA9 \xF0\x9F\x90\x88";
  const nlohmann::json json = run(kTale + " --json '" + text + "'").json();
  ASSERT_EQ(json["ids"].size(), json["pieces"].size());
  EXPECT_EQ(json["count"], json["ids"].size());
  std::size_t bytes = 0, characters = 0;
  for (const auto& piece : json["pieces"]) {
    if (piece["text"] == "") continue;  // put around the text
    EXPECT_EQ(piece["bytes"][0], bytes) << piece;
    bytes = piece["bytes"][1];
    EXPECT_LE(piece["characters"][0], characters) << piece;
    characters = piece["characters"][1];
  }
  EXPECT_EQ(bytes, text.size());
  EXPECT_EQ(characters, 12u);
  const std::string table = run(kTale + " --pieces '" + text + "'").out;
  EXPECT_NE(table.find("\\xE2"), std::string::npos) << table;  // a character in several tokens
}

TEST_F(Tokenize, LinesAreAnsweredByLines) {
  const Tokenizer tokenizer = bundled();
  scratch_.write("texts.jsonl", "\"a\\nb\"\n\"\"\n\"\\u00e9t\\u00e9\"\n");
  const std::string ids = run(kTale + " --bare --lines --text texts.jsonl").out;
  EXPECT_EQ(ids, joined(tokenizer.encode("a\nb", {.add_special = false})) + "\n" +
                     joined(tokenizer.encode("\xC3\xA9t\xC3\xA9", {.add_special = false})));
  scratch_.write("ids.txt", ids);
  EXPECT_EQ(run(kTale + " --decode --lines --text ids.txt").out, "\"a\\nb\"\n\"\"\n\"\\u00e9t\\u00e9\"\n");
  const auto json = run(kTale + " --bare --lines --json --text texts.jsonl").json();
  ASSERT_EQ(json["ids"].size(), 3u);
  EXPECT_TRUE(json["ids"][1].empty());
}

TEST_F(Tokenize, WhatIsAtFaultIsNamed) {
  EXPECT_NE(run(kTale + " --decode '1 2 99999999'", 1).error.find("99999999"), std::string::npos);
  EXPECT_NE(run(kTale + " --decode '1 two'", 1).error.find("'two'"), std::string::npos);
  scratch_.write("texts.jsonl", "\"a\"\nb\n");
  EXPECT_NE(run(kTale + " --lines --text texts.jsonl", 1).error.find("texts.jsonl: line 2"), std::string::npos);
  EXPECT_NE(run(kTied + " text", 1).error.find("tokenizer"), std::string::npos);
  EXPECT_NE(run("nothing text", 1).error.find("nothing"), std::string::npos);
  run(kTale + " text --text texts.jsonl", 2);
  run(kTale + " text --lines", 2);
  run(kTale + " --decode --bare 1", 2);
  run(kTale + " --pieces --json text", 2);
  run(kTale + " --force-text text", 2);
}

}  // namespace
}  // namespace nibble
