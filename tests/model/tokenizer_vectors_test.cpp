// SPDX-License-Identifier: Apache-2.0
//
// Ids and texts against independent implementations: llama.cpp, the packages tokenizers and sentencepiece.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/utf8.h"
#include "model/tokenizer/split_rules.h"
#include "model/tokenizer/tokenizer.h"
#include "tokenizer_data.h"

namespace nibble {
namespace {

using Ids = std::vector<std::int32_t>;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

void expect_llama_cpp_ids(const Tokenizer& tokenizer, const char* vocabulary) {
  std::size_t num_texts = 0;
  for (const auto& item : read_tokenizer_vectors("llama_cpp.json")) {
    const auto text = item["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text, kPlain), item[vocabulary].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, kPlain)), text);
    ++num_texts;
  }
  EXPECT_EQ(num_texts, 82u);
}

TEST(TokenizerVectors, LlamaCppGpt2) { expect_llama_cpp_ids(Tokenizer::from_gguf(gpt2_metadata(), "gpt-2"), "gpt-2"); }
TEST(TokenizerVectors, LlamaCppLlamaSpm) {
  expect_llama_cpp_ids(Tokenizer::from_gguf(llama_spm_metadata(), "llama-spm"), "llama-spm");
}
TEST(TokenizerVectors, LlamaCppPhi3) { expect_llama_cpp_ids(Tokenizer::from_gguf(phi3_metadata(), "phi-3"), "phi-3"); }

// llama.cpp's own vectors, where its vocabulary files lie in the folder tok/gguf_vocab of NIBBLE_EXTRA_DATA.
TEST(OptionalTokenizerVectors, LlamaCppVocabularyFiles) {
  const char* extra = std::getenv("NIBBLE_EXTRA_DATA");
  if (extra == nullptr) GTEST_SKIP() << "NIBBLE_EXTRA_DATA is not set";
  for (const std::string name : {"gpt-2", "llama-spm", "phi-3", "deepseek-coder"}) {
    const std::string file = std::string(extra) + "/tok/gguf_vocab/ggml-vocab-" + name + ".gguf";
    const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(file));
    const std::string texts = read_file(file + ".inp"), separator = "\n__ggml_vocab_test__\n";
    std::istringstream expected(read_file(file + ".out"));
    std::size_t num_texts = 0;
    for (std::size_t begin = 0, end = texts.find(separator); end != std::string::npos;
         begin = end + separator.size(), end = texts.find(separator, begin)) {
      std::string line;
      ASSERT_TRUE(std::getline(expected, line));
      std::istringstream numbers(line);
      const Ids ids{std::istream_iterator<std::int32_t>(numbers), {}};
      EXPECT_EQ(tokenizer.encode(texts.substr(begin, end - begin), kPlain), ids)
          << name << ": " << texts.substr(begin, end - begin);
      ++num_texts;
    }
    EXPECT_GE(num_texts, 40u) << name;
  }
}

TEST(TokenizerVectors, BundledModelOnRandomTexts) {
  const Tokenizer tokenizer =
      Tokenizer::from_json(read_repository_file("tests/data/tale-4M/tokenizer.json"),
                           read_repository_file("tests/data/tale-4M/tokenizer_config.json"), "tale-4M");
  const auto cases = read_tokenizer_vectors("bundled_random.json");
  ASSERT_GE(cases.size(), 1000u);
  std::size_t mismatches = 0;
  for (const auto& item : cases) {
    const auto text = item["text"].get<std::string>();
    const Ids ids = tokenizer.encode(text, {.add_special = false, .parse_special = true});
    if (ids != item["ids"].get<Ids>() ||
        replace_invalid_utf8(tokenizer.decode(ids)) != item["decoded"].get<std::string>()) {
      ++mismatches;
      ADD_FAILURE() << text;
    }
  }
  EXPECT_EQ(mismatches, 0u);
}

// One small tokenizer for each component of tokenizer.json.
TEST(TokenizerVectors, ComponentsOfTokenizerJson) {
  const auto components = read_tokenizer_vectors("components.json");
  ASSERT_GE(components.size(), 45u);
  for (const auto& component : components) {
    const auto name = component["name"].get<std::string>();
    const Tokenizer tokenizer = Tokenizer::from_json(component["tokenizer"].dump(), "", name);
    for (const auto& item : component["cases"]) {
      const auto text = item[0].get<std::string>();
      const Ids ids = tokenizer.encode(text, {.add_special = true, .parse_special = true});
      EXPECT_EQ(ids, item[1].get<Ids>()) << name << ": " << item[0];
      // tokenizers 0.23 decodes such a token to its normalised spelling; here it keeps the one that the file gives.
      if (name == "added token, normalized") continue;
      EXPECT_EQ(replace_invalid_utf8(tokenizer.decode(ids, true)), item[2].get<std::string>())
          << name << ": " << item[0];
    }
  }
}

TEST(TokenizerVectors, SentencePieceModels) {
  const auto models = read_tokenizer_vectors("sentencepiece.json");
  ASSERT_EQ(models.size(), 4u);
  for (const auto& model : models) {
    const auto name = model["model"].get<std::string>();
    const Tokenizer tokenizer = Tokenizer::from_sentencepiece(read_tokenizer_file(name), name);
    for (const auto& item : model["cases"]) {
      const Ids ids = tokenizer.encode(item[0].get<std::string>(), kPlain);
      EXPECT_EQ(ids, item[1].get<Ids>()) << name << ": " << item[0];
      EXPECT_EQ(replace_invalid_utf8(tokenizer.decode(ids, true)), item[2].get<std::string>())
          << name << ": " << item[0];
    }
  }
}

// The expressions themselves, and what Oniguruma makes of them.
TEST(TokenizerVectors, SplitRules) {
  const auto expected = read_tokenizer_vectors("split_rules.json");
  const auto rules = tokenizing::split_rules();
  ASSERT_EQ(expected.size(), rules.size());
  for (std::size_t i = 0; i < rules.size(); ++i) {
    ASSERT_EQ(expected[i]["rule"].get<std::string>(), rules[i].ids.front());
    const std::vector<std::string> regexes(rules[i].spellings.front().begin(), rules[i].spellings.front().end());
    EXPECT_EQ(expected[i]["regexes"].get<std::vector<std::string>>(), regexes);
    auto steps = tokenizing::pre_tokenizer_of(rules[i], "test");
    steps.pop_back();  // the byte map
    for (const auto& item : expected[i]["cases"]) {
      auto cut = tokenizing::CutText::whole(item[0].get<std::string>());
      tokenizing::pre_tokenize(steps, cut);
      std::vector<std::string> pieces;
      for (std::size_t piece = 0; piece < cut.pieces.size(); ++piece) pieces.emplace_back(cut[piece]);
      EXPECT_EQ(pieces, item[1].get<std::vector<std::string>>()) << rules[i].ids.front() << ": " << item[0];
    }
  }
}

}  // namespace
}  // namespace nibble
