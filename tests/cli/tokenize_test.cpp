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

TEST_F(Tokenize, TokenizersAreTrainedOnText) {
  const auto train = [&](const std::string& arguments, int code) {
    CommandResult result = nibble_command(scratch_, "train-tokenizer " + arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    return result;
  };
  const std::string text = " --text '" + kTale + "/calibration.txt' --text '" + kTale + "/heldout.txt'";
  const auto made = nlohmann::json::parse(train(text + " --size 500 -o made --json", 0).out);
  EXPECT_EQ(made["tokens"], 500);
  EXPECT_EQ(made["merges"], 500 - 258);
  const std::string words = "The old man's boat, 1234 times; naïve.";
  const std::string ids = run("made --bare \"" + words + "\"").out;
  scratch_.write("ids.txt", ids);
  EXPECT_EQ(run("made --decode --text ids.txt").out, words + "\n");
  const std::string said = train(" --text ids.txt --size 3072 -o other", 1).error;
  EXPECT_NE(said.find("the text has too few pairs of symbols for this vocabulary; give more text, or a smaller size"),
            std::string::npos)
      << said;
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "other"));
  EXPECT_NE(train(text + " --size 100 -o other", 2).error.find("259 in all: 100"), std::string::npos);
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

// SentencePiece puts a blank before a text, whatever the text begins with.
TEST_F(Tokenize, BlanksAtTheBeginningStandWhereTheyAre) {
  const std::string model = NIBBLE_SOURCE_DIR "/tests/data/tokenizer/bpe_bytes.model";
  for (const std::string text : {"  a  b ", " a", "a", "   "}) {
    std::size_t at = 0;
    bool is_first = true;
    const nlohmann::json json = run(model + " --bare --json -- '" + text + "'").json();
    for (const auto& piece : json["pieces"]) {
      const std::string own = piece["text"].get<std::string>().substr(is_first ? 1 : 0);
      is_first = false;
      EXPECT_EQ(piece["bytes"], (nlohmann::json{at, at + own.size()})) << piece << text;
      EXPECT_EQ(text.substr(at, own.size()), own);
      at += own.size();
    }
    EXPECT_EQ(at, text.size()) << text;
  }
  scratch_.write("a.jsonl", "\"a\"\n");
  scratch_.write("b.jsonl", "\"b\"\n");
  EXPECT_EQ(nibble_command(scratch_, "tokenize " + kTale + " --lines --count --text a.jsonl --text b.jsonl").code, 2);
}

TEST_F(Tokenize, ConversationsAreCutAsTheModelReadsThem) {
  const Tokenizer tokenizer = bundled();
  const std::string end = tokenizer.token_text(*tokenizer.eos());
  scratch_.write("turns.jinja", "{% for m in messages %}{{ m.role }}: {{ m.content }}" + end + "{% endfor %}");
  scratch_.write("talks.jsonl",
                 R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, Tom"}]})"
                 "\n"
                 R"([{"role": "user", "content": "Bye"}])"
                 "\n");
  const std::vector<std::string> texts = {"user: Hi" + end + "assistant: Hello, Tom" + end, "user: Bye" + end};
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::string& text : texts)
    ids.push_back(tokenizer.encode(text, {.add_special = false, .parse_special = true}));
  EXPECT_EQ(ids[1].back(), *tokenizer.eos());
  const std::string call = kTale + " --chat talks.jsonl --template turns.jinja";
  EXPECT_EQ(run(call).out, joined(ids[0]) + joined(ids[1]));
  EXPECT_EQ(run(call + " --count").out, std::to_string(ids[0].size()) + "\n" + std::to_string(ids[1].size()) + "\n");
  EXPECT_NE(run(call + " --pieces").out.find("\"" + end + "\""), std::string::npos);
  const nlohmann::json json = run(call + " --json").json();
  EXPECT_EQ(json["count"], ids[0].size() + ids[1].size());
  ASSERT_EQ(json["conversations"].size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(json["conversations"][i]["text"], texts[i]);
    EXPECT_EQ(json["conversations"][i]["ids"], ids[i]);
    EXPECT_EQ(json["conversations"][i]["pieces"].size(), ids[i].size());
  }
  EXPECT_FALSE(run(call + " --json --count").json()["conversations"][0].contains("ids"));
  EXPECT_NE(run(kTale + " --chat talks.jsonl", 1).error.find("has no chat template"), std::string::npos);
  EXPECT_NE(run(call + " --bare", 2).error.find("leave out one of the two: --bare, --chat"), std::string::npos);
  EXPECT_NE(run(kTale + " --template turns.jinja a", 2).error.find("--template"), std::string::npos);
  scratch_.write("raises.jinja", "{{ raise_exception('roles must alternate') }}");
  EXPECT_NE(run(kTale + " --chat talks.jsonl --template raises.jinja", 1).error.find("roles must alternate"),
            std::string::npos);
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

// "Caf" and the word behind the accent stand in the text as the tokenizer spells them; the accented letter, which it
// composes, does not.
TEST_F(Tokenize, PositionsEndWhereTheTextIsSpeltOtherwise) {
  nlohmann::json tokenizer = nlohmann::json::parse(read_text(std::filesystem::path(kTale) / "tokenizer.json"));
  tokenizer["normalizer"] = {{"type", "NFC"}};
  scratch_.write("nfc.json", tokenizer.dump());
  const std::string text = "Cafe\xCC\x81 cat";
  const nlohmann::json json = run("nfc.json --bare --json '" + text + "'").json();
  const auto& pieces = json["pieces"];
  EXPECT_EQ(pieces.front()["bytes"][0], 0u);
  EXPECT_EQ(pieces.back()["bytes"], nlohmann::json({6u, 10u})) << pieces;
  EXPECT_EQ(pieces.back()["characters"], nlohmann::json({5u, 9u}));
  EXPECT_TRUE(std::ranges::any_of(pieces, [](const auto& piece) { return piece["bytes"].is_null(); })) << pieces;
}

TEST_F(Tokenize, ADirectoryNeedsNoWeights) {
  std::filesystem::create_directory(scratch_ / "vocabulary");
  std::filesystem::copy_file(std::filesystem::path(kTale) / "tokenizer.json", scratch_ / "vocabulary/tokenizer.json");
  EXPECT_EQ(run("vocabulary cat").out, run(kTale + " cat").out);
  EXPECT_EQ(run(kTale + "/model.safetensors cat").out, run(kTale + " cat").out);
  std::filesystem::create_directory(scratch_ / "nothing-in-it");
  EXPECT_NE(run("nothing-in-it cat", 1).error.find("nothing-in-it"), std::string::npos);
}

TEST_F(Tokenize, FilesAreCounted) {
  scratch_.write("a.txt", "Once upon a time");
  scratch_.write("b.txt", "");
  scratch_.write("c.json", "{\"a\": 1}");
  const auto count = [](const std::string& text) { return bundled().encode(text).size(); };
  const std::size_t a = count("Once upon a time"), b = count(""), c = count("{\"a\": 1}");
  const std::string files = " --count --text a.txt --text b.txt --text c.json";
  EXPECT_EQ(run(kTale + files).out, std::to_string(a) + " a.txt\n" + std::to_string(b) + " b.txt\n" +
                                        std::to_string(c) + " c.json\n" + std::to_string(a + b + c) + " in all\n");
  const nlohmann::json json = run(kTale + files + " --json").json();
  EXPECT_EQ(json["count"], a + b + c);
  EXPECT_EQ(json["files"][2], nlohmann::json({{"name", "c.json"}, {"count", c}}));
  EXPECT_NE(run(kTale + " --text a.txt --text b.txt", 2).error.find("--count"), std::string::npos);
  EXPECT_EQ(run(kTale + " -").out, run(kTale + " ''").out);  // standard input, which is empty here
}

TEST_F(Tokenize, BytesThatAreNoTextAreTold) {
  scratch_.write("bad.txt",
                 "a\xFF"
                 "b");
  const CommandResult result = run(kTale + " --bare --json --text bad.txt");
  EXPECT_NE(result.error.find("bad.txt: a sequence of bytes that is no UTF-8, read as U+FFFD"), std::string::npos)
      << result.error;
  EXPECT_EQ(result.json()["pieces"].back()["bytes"], nlohmann::json({4u, 5u}));
  scratch_.write("notes", "# A title\n");
  EXPECT_NE(run("notes cat", 1).error.find("a tokenizer is tokenizer.json"), std::string::npos);
  EXPECT_NE(run(kTale + " --text ''", 2).error.find("name a file"), std::string::npos);
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
