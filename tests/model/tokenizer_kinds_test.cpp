// SPDX-License-Identifier: Apache-2.0
//
// Every kind of vocabulary against the library that it was made with, on random texts of every script
// (tools/compare_tokenizers.py, which compares 100,000 of them).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/scratch_directory.h"
#include "model/tokenizer/tokenizer.h"
#include "tokenizer_data.h"

namespace nibble {
namespace {

using Ids = std::vector<std::int32_t>;

Tokenizer open(const std::filesystem::path& path) { return Tokenizer::from_checkpoint(Checkpoint::open(path)); }

// Without weights a directory is none of a model.
void add_weights(const ScratchDirectory& scratch) {
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::create_symlink(std::filesystem::path(NIBBLE_SOURCE_DIR "/tests/data/tiny_tied") / name,
                                    scratch / name);
}

// The files of an entry of kinds.json as a directory.
void lay_out(const nlohmann::json& kind, const std::filesystem::path& root, const ScratchDirectory& scratch) {
  for (const auto& [name, source] : kind["files"].items()) {
    if (source.is_string())
      std::filesystem::create_symlink(root / source.get<std::string>(), scratch / name);
    else
      scratch.write(name, source.dump());
  }
}

Tokenizer open(const nlohmann::json& kind, const ScratchDirectory& scratch) {
  return open(kind["files"].contains("model.gguf") ? scratch / "model.gguf" : scratch.path());
}

std::string digest(const std::vector<Ids>& lines) {
  std::uint64_t value = 0xCBF29CE484222325u;
  for (const Ids& ids : lines) {
    std::string text;
    for (const std::int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
    for (const char c : text + "\n") value = (value ^ static_cast<std::uint8_t>(c)) * 0x100000001B3u;
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::size_t compare(const char* which, const std::filesystem::path& root) {
  const auto texts = read_tokenizer_vectors("texts.json").get<std::vector<std::string>>();
  EXPECT_GE(texts.size(), 200u);
  std::size_t count = 0;
  for (const auto& kind : read_tokenizer_vectors("kinds.json")) {
    if (kind["root"] != which) continue;
    const ScratchDirectory scratch;
    lay_out(kind, root, scratch);
    add_weights(scratch);
    const Tokenizer tokenizer = open(kind, scratch);
    std::vector<Ids> found;
    for (const std::string& text : texts) found.push_back(tokenizer.encode(text, {.add_special = false}));
    if (kind.contains("digest")) {
      EXPECT_EQ(digest(found), kind["digest"].get<std::string>()) << kind["kind"];
    } else {
      const auto expected = kind["ids"].get<std::vector<Ids>>();
      for (std::size_t i = 0; i < texts.size(); ++i)
        EXPECT_EQ(found[i], expected[i]) << kind["kind"] << ": " << texts[i];
    }
    ++count;
  }
  return count;
}

TEST(TokenizerKinds, OfTheRepository) { EXPECT_GE(compare("repository", NIBBLE_SOURCE_DIR), 11u); }

TEST(OptionalTokenizerKinds, OfVocabulariesElsewhere) {
  const char* extra = std::getenv("NIBBLE_EXTRA_DATA");
  if (extra == nullptr) GTEST_SKIP() << "NIBBLE_EXTRA_DATA is not set";
  EXPECT_GE(compare("data", std::filesystem::path(extra) / "tok"), 9u);
}

class Laid : public ::testing::Test {
 protected:
  Laid() { add_weights(scratch_); }
  // A directory of test data under other names, with a tokenizer_config.json.
  Tokenizer open_as(const std::string& source, const std::string& name, const nlohmann::json& config) {
    scratch_.write(name, read_tokenizer_file(source));
    scratch_.write("tokenizer_config.json", config.dump());
    return open(scratch_.path());
  }
  ScratchDirectory scratch_;
};

TEST_F(Laid, ChatGlm3PutsItsTokensBehindThePieces) {
  const std::size_t pieces = Tokenizer::from_sentencepiece(read_tokenizer_file("bpe_bytes.model"), "m").vocab_size();
  const Tokenizer tokenizer = open_as("bpe_bytes.model", "tokenizer.model", {{"tokenizer_class", "ChatGLMTokenizer"}});
  const auto first = static_cast<std::int32_t>(pieces);
  EXPECT_EQ(tokenizer.vocab_size(), pieces + 9);
  EXPECT_EQ(tokenizer.find_token("[gMASK]"), first + 1);
  EXPECT_EQ(tokenizer.find_token("<|observation|>"), first + 8);
  EXPECT_EQ(tokenizer.encode(""), (Ids{first + 1, first + 3}));
  EXPECT_EQ(tokenizer.encode("<|user|>", {.add_special = false, .parse_special = true}), Ids{first + 6});
  EXPECT_TRUE(tokenizer.is_special(first + 6));
}

TEST_F(Laid, Glm4AndKimiHaveTheirFrames) {
  const Tokenizer glm = open_as("kind_small.tiktoken", "tokenizer.model", {{"tokenizer_class", "ChatGLM4Tokenizer"}});
  EXPECT_EQ(glm.kind(), "byte-level BPE (glm4)");
  EXPECT_EQ(glm.encode(""), (Ids{*glm.find_token("[gMASK]"), *glm.find_token("<sop>")}));
  EXPECT_TRUE(glm.is_end(*glm.find_token("<|endoftext|>")));
  std::filesystem::remove(scratch_ / "tokenizer.model");
  const auto id = static_cast<std::int32_t>(*glm.find_token("<|endoftext|>"));  // behind the ranks
  const Tokenizer kimi =
      open_as("kind_small.tiktoken", "tiktoken.model",
              {{"tokenizer_class", "TikTokenTokenizer"},
               {"added_tokens_decoder", {{std::to_string(id + 2), {{"content", "<|im_end|>"}, {"special", true}}}}},
               {"bos_token", "[BOS]"}});
  EXPECT_EQ(kimi.kind(), "byte-level BPE (kimi-k2)");
  EXPECT_EQ(kimi.encode(""), Ids{});
  EXPECT_EQ(kimi.find_token("<|im_end|>"), id + 2);
  EXPECT_EQ(kimi.token_text(id + 3), "<|reserved_token_" + std::to_string(id + 3) + "|>");
  EXPECT_EQ(kimi.vocab_size(), static_cast<std::size_t>(id) + 256);
  EXPECT_EQ(kimi.bos(), id);
}

TEST_F(Laid, TekkenPutsItsControlTokensFirst) {
  const Tokenizer tokenizer = open_as("kind_tekken.json", "tekken.json", nlohmann::json::object());
  EXPECT_EQ(tokenizer.kind(), "byte-level BPE (tekken)");
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_EQ(tokenizer.encode("a"), (Ids{1, 24 + 'a'}));
  EXPECT_EQ(tokenizer.encode("[INST]", {.add_special = false, .parse_special = true}), Ids{3});
  EXPECT_EQ(tokenizer.token_text(23), "<SPECIAL_23>");
}

// What a vocabulary beside tokenizer_config.json says of ids is compared with it.
TEST_F(Laid, FilesThatContradictEachOther) {
  const auto error = [&](const std::string& source, const std::string& name, const nlohmann::json& config) {
    try {
      open_as(source, name, config);
      return std::string("no error");
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::corrupt);
      std::filesystem::remove(scratch_ / name);
      return std::string(e.what()).substr(scratch_.path().string().size() + 1);
    }
  };
  const auto with = [](const char* id, const char* content) {
    return nlohmann::json{{"added_tokens_decoder", {{id, {{"content", content}}}}}};
  };
  EXPECT_TRUE(error("kind_gemma4.json", "tokenizer.json", with("4", "<|other>"))
                  .starts_with("tokenizer_config.json: added_tokens_decoder.4.content: '<|other>' is another token"));
  EXPECT_EQ(error("bpe_bytes.model", "tokenizer.model", with("1", "<begin>")),
            "tokenizer.model: the files beside it name '<begin>' as token 1, which is '<s>' here");
  EXPECT_TRUE(error("bpe_bytes.model", "tokenizer.model", with("x", "<begin>")).find("its key is not an id") !=
              std::string::npos);
  scratch_.write("tokenizer.model", read_tokenizer_file("bpe_bytes.model"));
  auto json = nlohmann::json::parse(
      Tokenizer::from_sentencepiece(read_tokenizer_file("bpe_bytes.model"), "m").to_huggingface().tokenizer_json);
  std::string swapped[2];
  for (const auto& [text, id] : json["model"]["vocab"].items())
    for (const int i : {0, 1})
      if (id == 300 + i) swapped[i] = text;
  json["model"]["vocab"][swapped[0]] = 301;
  json["model"]["vocab"][swapped[1]] = 300;
  scratch_.write("tokenizer.json", json.dump());
  scratch_.write("tokenizer_config.json", "{}");
  try {
    open(scratch_.path());
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("tokenizer.json: model.vocab."), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("another id than in"), std::string::npos) << e.what();
  }
}

TEST_F(Laid, RanksThatAreNone) {
  const auto error = [&](const std::string& text) {
    scratch_.write("tiktoken.model", text);
    scratch_.write("tokenizer_config.json", "{}");
    try {
      open(scratch_.path());
      return std::string("no error");
    } catch (const Error& e) {
      return std::string(e.what()).substr(scratch_.path().string().size() + 1);
    }
  };
  EXPECT_EQ(error("YQ== 0\nYg== one\n"), "tiktoken.model: line 2: not a token in base64 and its rank: 'Yg== one'");
  EXPECT_EQ(error("YQ== 0\nYg== 0\n"), "tiktoken.model: line 2: two tokens have rank 0");
  EXPECT_EQ(error("YQ== 0\nYg== 99999999\n"), "tiktoken.model: line 2: a rank beyond 2097152: 99999999");
  EXPECT_NE(error("YQ== 0\n").find("ranks 1, tokenizer_class ''"), std::string::npos);
}

// Through the keys of a GGUF file and back: the same ids.
TEST(TokenizerKinds, GemmaAndUnigramThroughGguf) {
  const auto texts = read_tokenizer_vectors("texts.json").get<std::vector<std::string>>();
  for (const auto& [file, model] : {std::pair("kind_gemma4.json", "gemma4"), std::pair("unigram.model", "t5")}) {
    const std::string source = read_tokenizer_file(file);
    const Tokenizer tokenizer = std::string_view(file).ends_with(".json") ? Tokenizer::from_json(source, "", file)
                                                                          : Tokenizer::from_sentencepiece(source, file);
    const GgufMetadata metadata = tokenizer.to_gguf(tokenizer.vocab_size());
    EXPECT_EQ(metadata.string("tokenizer.ggml.model"), model);
    const Tokenizer written = Tokenizer::from_gguf(metadata, "written");
    for (const std::string& text : texts)
      EXPECT_EQ(written.encode(text, {.add_special = false}), tokenizer.encode(text, {.add_special = false})) << text;
    EXPECT_TRUE(tokenizer.lost_in_gguf(metadata).empty()) << tokenizer.lost_in_gguf(metadata).front();
  }
}

}  // namespace
}  // namespace nibble
