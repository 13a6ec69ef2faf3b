// SPDX-License-Identifier: Apache-2.0
#include "train/tokenizer_training.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "train/byte_pairs.h"

namespace nibble {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TrainedTokenizer train_on_stories(std::size_t size) {
  TokenizerTraining training({.size = size});
  training.add(read_file(NIBBLE_SOURCE_DIR "/tests/data/tale-4M/calibration.txt"));
  return training.finish();
}

// tools/reference_tokenizer_training.py: the tokenizers library on the same text.
TEST(TokenizerTraining, MergesAreThoseOfTheTokenizersLibrary) {
  const auto reference = nlohmann::json::parse(read_file(NIBBLE_SOURCE_DIR "/tests/data/tokenizer/trained.json"));
  const TrainedTokenizer made = train_on_stories(reference["size"].get<std::size_t>());
  const auto json = nlohmann::json::parse(made.tokenizer_json);
  EXPECT_EQ(made.merges, reference["merges"].size());
  EXPECT_EQ(json["model"]["merges"], reference["merges"]);
  EXPECT_EQ(json["model"]["vocab"].size(), reference["size"].get<std::size_t>());
}

// The file of the bundled model was written by that library, of another text.
TEST(TokenizerTraining, FilesAreMadeAsThoseOfTheTokenizersLibrary) {
  auto bundled = nlohmann::json::parse(read_file(NIBBLE_SOURCE_DIR "/tests/data/tale-4M/tokenizer.json"));
  auto made = nlohmann::json::parse(train_on_stories(300).tokenizer_json);
  for (auto* file : {&bundled, &made}) {
    (*file)["model"].erase("merges");
    auto& tokens = (*file)["model"]["vocab"];
    for (auto token = tokens.begin(); token != tokens.end();)
      token = token->get<int>() < 258 ? std::next(token) : tokens.erase(token);
  }
  EXPECT_EQ(made, bundled);
}

TEST(TokenizerTraining, WhatIsMadeIsATokenizer) {
  const TrainedTokenizer made = train_on_stories(400);
  const Tokenizer tokenizer = Tokenizer::from_json(made.tokenizer_json, made.tokenizer_config_json, "made");
  EXPECT_EQ(tokenizer.vocab_size(), 400u);
  EXPECT_EQ(tokenizer.bos(), 0);
  EXPECT_EQ(tokenizer.eos(), 1);
  EXPECT_TRUE(tokenizer.adds_bos());
  const std::string text = "The fox's 1234 naïve friends\n\n\nsaid \"Ωμέγα 漢字\"\t!";
  const std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special = false});
  EXPECT_EQ(tokenizer.decode(ids), text);
  EXPECT_LT(ids.size(), text.size());
}

TEST(TokenizerTraining, SizesThatCannotBeReachedAreRefused) {
  const auto refusal = [](std::size_t size, std::string_view text) -> std::string {
    try {
      TokenizerTraining training({.size = size});
      training.add(text);
      training.finish();
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(258, "abc"),
            "a vocabulary has two special tokens, 256 of bytes and at least one more, 259 in all: 258");
  EXPECT_EQ(refusal(300, "abc abc"),
            "the text has too few pairs of symbols for this vocabulary; give more text, or a smaller size: 261 tokens "
            "of 300");
  EXPECT_EQ(refusal(259, "\xff\xfe abc"), "accepted");
}

TEST(BytePairs, TheMostFrequentPairMergesFirstAndTheLowerOfEquals) {
  const BytePairs pairs = learn_byte_pairs({{"abab", 3}, {"cab", 2}, {"aaa", 1}, {"dd", 1}}, {"a", "b", "c", "d"}, 100);
  // ab 8 times, then abab 3, aa 2 (in aaa) and cab 2, dd 1 and aaa 1.
  const std::vector<std::string> expected = {"a", "b", "c", "d", "ab", "abab", "aa", "cab", "dd", "aaa"};
  EXPECT_EQ(pairs.tokens, expected);
  EXPECT_EQ(learn_byte_pairs({{"abab", 3}}, {"a", "b"}, 3).tokens.size(), 3u);
}

}  // namespace
}  // namespace nibble
