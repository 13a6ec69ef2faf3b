// SPDX-License-Identifier: Apache-2.0
//
// What to_gguf and to_huggingface write is read again as the same tokenizer.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "tokenizer_data.h"

namespace nibble {
namespace {

std::vector<std::string> sample_texts() {
  std::vector<std::string> texts;
  for (const auto& item : read_tokenizer_vectors("llama_cpp.json")) texts.push_back(item["text"].get<std::string>());
  const auto components = read_tokenizer_vectors("components.json");
  for (const auto& item : components[0]["cases"]) texts.push_back(item[0].get<std::string>());
  return texts;
}

// Text that tells split rules, merges and normalizers apart: contractions, digits, signs, white space, scripts, emoji.
constexpr std::string_view kProbe =
    "Hello, world! I'm sure we'LL see 'em; it's 3.14159 x 10^23 = 1234567890?\r\n\t if (a[i] != b->c) { return "
    "\"x\\n\"; } // done\n\n"
    "   three   spaces \t\n \n  Führer Größe naïve ½ кошка собака 日本語のテキスト 한국어 ไทย हिन्दी עברית العربية "
    "🙂👩‍🚀🏳️‍🌈 ﬁ ™ "
    "camelCaseHTTPServer "
    "user_name@example.com   \n\n\n 00 000 0000 ...!!!??? ''\"\" --- ===== <tag/> #include 'S 'd 'Re";

// What decides ids: the bytes of so many tokens and the ids of a probing text. Equal for tokenizers that agree,
// whatever file they came from: one that was made for an embedding of more rows has tokens behind them that no text
// gives.
std::vector<std::string> features_of(const Tokenizer& tokenizer, std::size_t tokens = ~std::size_t{0}) {
  std::vector<std::string> features;
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(std::min<std::size_t>(tokens, tokenizer.vocab_size()));
       ++id) {
    const std::string& text = tokenizer.token_text(id);
    features.push_back(text == "<unk>" ? text : tokenizer.piece(id));  // what it is shown as decides no id
  }
  for (const std::int32_t id : tokenizer.encode(kProbe)) features.push_back(std::to_string(id));
  return features;
}

void expect_same(const Tokenizer& a, const Tokenizer& b) {
  for (const std::string& text : sample_texts()) {
    for (const bool parse_special : {false, true}) {
      const EncodeOptions options{.add_special = true, .parse_special = parse_special};
      const auto ids = a.encode(text, options);
      EXPECT_EQ(ids, b.encode(text, options)) << text;
      EXPECT_EQ(a.decode(ids, true), b.decode(ids, true)) << text;
    }
  }
  EXPECT_EQ(features_of(a, a.vocab_size()), features_of(b, a.vocab_size()));
  EXPECT_EQ(a.bos(), b.bos());
  EXPECT_EQ(a.eos(), b.eos());
  EXPECT_EQ(a.adds_bos(), b.adds_bos());
}

Tokenizer through_gguf(const Tokenizer& tokenizer, std::uint64_t rows) {
  return Tokenizer::from_gguf(tokenizer.to_gguf(rows), "written");
}

Tokenizer through_json(const Tokenizer& tokenizer) {
  const Tokenizer::HfFiles files = tokenizer.to_huggingface();
  return Tokenizer::from_json(files.tokenizer_json, files.tokenizer_config_json, "written");
}

Tokenizer bundled() {
  return Tokenizer::from_json(read_repository_file("tests/data/tale-4M/tokenizer.json"),
                              read_repository_file("tests/data/tale-4M/tokenizer_config.json"), "tale-4M");
}

TEST(TokenizerFiles, BundledModel) {
  const Tokenizer tokenizer = bundled();
  EXPECT_EQ(tokenizer.kind(), "byte-level BPE (llama-bpe)");
  ASSERT_TRUE(tokenizer.bos());
  EXPECT_TRUE(tokenizer.is_end(*tokenizer.eos()));
  expect_same(tokenizer, through_json(tokenizer));
  const GgufMetadata metadata = tokenizer.to_gguf(tokenizer.vocab_size() + 2);
  EXPECT_EQ(metadata.string("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(metadata.boolean("tokenizer.ggml.add_bos_token"), tokenizer.adds_bos());
  const std::vector<std::string>& tokens = *metadata.strings("tokenizer.ggml.tokens");
  EXPECT_EQ(tokens.back(), "[PAD" + std::to_string(tokenizer.vocab_size() + 1) + "]");
  EXPECT_EQ(metadata.numbers("tokenizer.ggml.token_type")->back(), 5);
  expect_same(tokenizer, Tokenizer::from_gguf(metadata, "written"));
}

TEST(TokenizerFiles, Gpt2FromGgufToJsonAndBack) {
  const Tokenizer tokenizer = Tokenizer::from_gguf(gpt2_metadata(), "gpt-2");
  expect_same(tokenizer, through_json(tokenizer));
  expect_same(tokenizer, through_gguf(through_json(tokenizer), tokenizer.vocab_size()));
  const GgufMetadata written = tokenizer.to_gguf(tokenizer.vocab_size());
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"})
    EXPECT_EQ(*written.strings(key), *gpt2_metadata().strings(key)) << key;
}

TEST(TokenizerFiles, LlamaFromGgufToJsonAndBack) {
  const Tokenizer tokenizer = Tokenizer::from_gguf(llama_spm_metadata(), "llama-spm");
  const Tokenizer from_json = through_json(tokenizer);
  expect_same(tokenizer, from_json);
  // There the order of merges is all that is left of the scores.
  expect_same(tokenizer, through_gguf(from_json, tokenizer.vocab_size()));
  const GgufMetadata written = tokenizer.to_gguf(tokenizer.vocab_size());
  const GgufMetadata original = llama_spm_metadata();
  EXPECT_EQ(*written.strings("tokenizer.ggml.tokens"), *original.strings("tokenizer.ggml.tokens"));
  EXPECT_EQ(written.numbers("tokenizer.ggml.scores"), original.numbers("tokenizer.ggml.scores"));
  EXPECT_EQ(written.numbers("tokenizer.ggml.token_type"), original.numbers("tokenizer.ggml.token_type"));
  EXPECT_EQ(written.boolean("tokenizer.ggml.add_space_prefix"), true);
}

TEST(TokenizerFiles, SentencePieceModelToGguf) {
  const Tokenizer tokenizer = Tokenizer::from_sentencepiece(read_tokenizer_file("bpe_bytes.model"), "bpe_bytes.model");
  const Tokenizer written = through_gguf(tokenizer, tokenizer.vocab_size());
  EXPECT_EQ(features_of(tokenizer), features_of(written));
  for (const char* text : {"Hello world", " two  spaces", "Größe 12", "日本語"})
    EXPECT_EQ(tokenizer.encode(text), written.encode(text)) << text;
}

// A lone blank comes out as no text at the begin, and is a token as any other.
TEST(TokenizerFiles, SpecialTokensOfSentencePiece) {
  const Tokenizer tokenizer = Tokenizer::from_sentencepiece(read_tokenizer_file("bpe_bytes.model"), "bpe_bytes.model");
  const std::string text = "<s>  Hello  <tag> house </s> <s>x";
  const std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special = false, .parse_special = true});
  const std::int32_t blank = tokenizer.find_token("\u2581").value();
  ASSERT_NE(std::ranges::find(ids, blank), ids.end()) << "this text does not try it";
  EXPECT_FALSE(tokenizer.is_special(blank));
  EXPECT_FALSE(tokenizer.is_special(tokenizer.find_token("<tag>").value()));
  EXPECT_TRUE(tokenizer.is_special(tokenizer.bos().value()));
  EXPECT_EQ(std::ranges::count_if(ids, [&](std::int32_t id) { return tokenizer.is_special(id); }), 3);
  EXPECT_EQ(tokenizer.count_special(text), 3u);
  EXPECT_EQ(tokenizer.count_special("<tag> and  blanks\xff, a house"), 0u);
  EXPECT_EQ(tokenizer.count_special("\xff</s>"), 1u);
  EXPECT_THROW(tokenizer.is_special(560), Error);
}

// Counted is what encoding finds, in tokens that are looked for in raw text and those looked for in normalised text.
TEST(TokenizerFiles, SpecialTokensAreCountedAsTheyAreEncoded) {
  auto json = nlohmann::json::parse(read_repository_file("tests/data/tale-4M/tokenizer.json"));
  const auto next = static_cast<std::int64_t>(Tokenizer::from_json(json.dump(), "", "t").vocab_size());
  json["normalizer"] = {{"type", "Lowercase"}};
  json["added_tokens"].push_back({{"id", next}, {"content", "<|raw|>"}, {"special", true}, {"normalized", false}});
  json["added_tokens"].push_back({{"id", next + 1}, {"content", "<|low|>"}, {"special", true}, {"normalized", true}});
  json["added_tokens"].push_back({{"id", next + 2}, {"content", "<|word|>"}, {"special", false}, {"normalized", true}});
  const Tokenizer tokenizer = Tokenizer::from_json(json.dump(), "", "t");
  for (const std::string text : {"a<|raw|>b<|LOW|>c<|word|><|RAW|><|low|>", "", "<|raw|><|raw|>", "none"}) {
    const std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special = false, .parse_special = true});
    EXPECT_EQ(tokenizer.count_special(text),
              static_cast<std::size_t>(std::ranges::count_if(ids, [&](auto id) { return tokenizer.is_special(id); })))
        << text;
  }
  EXPECT_EQ(tokenizer.count_special("a<|raw|>b<|LOW|>c<|word|><|RAW|><|low|>"), 3u);
}

// Every small tokenizer of components.json goes through tokenizer.json; those that GGUF can hold go through GGUF too.
TEST(TokenizerFiles, Components) {
  std::size_t held = 0;
  for (const auto& component : read_tokenizer_vectors("components.json")) {
    const auto name = component["name"].get<std::string>();
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = Tokenizer::from_json(component["tokenizer"].dump(), "", name);
    const Tokenizer again = through_json(tokenizer);
    for (const auto& item : component["cases"]) {
      const auto text = item[0].get<std::string>();
      EXPECT_EQ(tokenizer.encode(text), again.encode(text)) << text;
    }
    try {
      const GgufMetadata metadata = tokenizer.to_gguf(tokenizer.vocab_size());
      const Tokenizer from_gguf = Tokenizer::from_gguf(metadata, "written");
      if (!tokenizer.lost_in_gguf(metadata).empty()) continue;  // where nothing is said to be lost, nothing is
      ++held;
      for (const auto& item : component["cases"]) {
        const auto text = item[0].get<std::string>();
        EXPECT_EQ(tokenizer.encode(text), from_gguf.encode(text)) << text;
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported) << error.what();
    }
  }
  EXPECT_GE(held, 6u);
}

// Holes in the ids are no tokens, and a GGUF file fills them.
TEST(TokenizerFiles, HolesInTheIds) {
  const std::string json =
      R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},)"
      R"("model":{"type":"BPE","vocab":{"a":0,"b":5},"merges":[]}})";
  const Tokenizer tokenizer = Tokenizer::from_json(json, "", "t.json");
  EXPECT_EQ(tokenizer.vocab_size(), 6u);
  EXPECT_EQ(tokenizer.token_text(3), "");
  EXPECT_EQ(tokenizer.piece(3), "");
  EXPECT_EQ(*tokenizer.to_gguf(7).strings("tokenizer.ggml.tokens"),
            (std::vector<std::string>{"a", "[PAD1]", "[PAD2]", "[PAD3]", "[PAD4]", "b", "[PAD6]"}));
}

TEST(TokenizerFiles, NamesInTokenizerConfig) {
  const std::string json =
      R"({"added_tokens":[{"id":1,"content":"<s>","special":true},{"id":2,"content":"<|im_end|>","special":true}],)"
      R"("model":{"type":"BPE","vocab":{"a":0},"merges":[]}})";
  const Tokenizer tokenizer = Tokenizer::from_json(
      json, R"({"bos_token":{"content":"<s>"},"eos_token":"a","chat_template":"{{ x }}"})", "t.json");
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 0);
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_TRUE(tokenizer.is_end(0));
  EXPECT_TRUE(tokenizer.is_end(2));
  EXPECT_FALSE(tokenizer.is_end(1));
  EXPECT_EQ(tokenizer.chat_template(), "{{ x }}");
}

using Files = std::vector<std::pair<std::string, std::string>>;  // name and text

// A directory with the weights of a tiny model and the files given.
class Directory {
 public:
  explicit Directory(const Files& files) {
    std::filesystem::create_directories(path);
    for (const char* name : {"config.json", "model.safetensors"})
      std::filesystem::copy_file(std::filesystem::path(NIBBLE_SOURCE_DIR "/tests/data/tiny_tied") / name, path / name);
    for (const auto& [name, text] : files) std::ofstream(path / name, std::ios::binary) << text;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const std::filesystem::path path =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("nibble_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST(TokenizerCheckpoint, BundledModel) {
  const Checkpoint checkpoint = Checkpoint::open(NIBBLE_SOURCE_DIR "/tests/data/tale-4M");
  EXPECT_TRUE(Tokenizer::available(checkpoint));
  EXPECT_EQ(features_of(Tokenizer::from_checkpoint(checkpoint)), features_of(bundled()));
}

TEST(TokenizerCheckpoint, NoTokenizer) {
  const Directory directory({});
  const Checkpoint checkpoint = Checkpoint::open(directory.path);
  EXPECT_FALSE(Tokenizer::available(checkpoint));
  try {
    Tokenizer::from_checkpoint(checkpoint);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_EQ(std::string_view(error.what()),
              directory.path.string() + ": neither tokenizer.json nor tokenizer.model is here");
  }
}

// The error that reading the tokenizer of such a directory ends in, with its path as "DIR".
std::string error_of(const Files& files) {
  const Directory directory(files);
  const Checkpoint checkpoint = Checkpoint::open(directory.path);
  EXPECT_TRUE(Tokenizer::available(checkpoint));
  try {
    Tokenizer::from_checkpoint(checkpoint);
  } catch (const Error& error) {
    const std::string path = directory.path.string(), text = error.what();
    return text.starts_with(path) ? "DIR" + text.substr(path.size()) : text;
  }
  return "no error";
}

// vocab.json and merges.txt of the bundled tokenizer, as GPT-2's class keeps them.
std::pair<std::string, std::string> old_files_of(const nlohmann::json& tokenizer) {
  std::string merges = "#version: 0.2\n";
  for (const auto& merge : tokenizer["model"]["merges"])
    merges += (merge.is_string() ? merge.get<std::string>()
                                 : merge[0].get<std::string>() + " " + merge[1].get<std::string>()) +
              "\n";
  return {tokenizer["model"]["vocab"].dump(), merges};
}

TEST(TokenizerCheckpoint, VocabularyAndMergesAreATokenizer) {
  auto json = nlohmann::json::parse(read_repository_file("tests/data/tale-4M/tokenizer.json"));
  json["normalizer"] = nullptr;
  json["post_processor"] = nullptr;
  json["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const auto [vocabulary, merges] = old_files_of(json);
  const std::int64_t next = static_cast<std::int64_t>(Tokenizer::from_json(json.dump(), "", "t").vocab_size());
  const Directory directory(
      {{"vocab.json", vocabulary},
       {"merges.txt", merges},
       {"added_tokens.json", "{\"<|user|>\":" + std::to_string(next) + "}"},
       {"special_tokens_map.json", R"({"eos_token":{"content":"<|user|>"}})"},
       {"tokenizer_config.json",
        R"({"tokenizer_class":"GPT2Tokenizer","eos_token":"<|user|>","model_max_length":1e999})"}});
  const Checkpoint checkpoint = Checkpoint::open(directory.path);
  EXPECT_TRUE(Tokenizer::available(checkpoint));
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
  json["added_tokens"] = {{{"id", next}, {"content", "<|user|>"}, {"special", true}}};
  const Tokenizer same = Tokenizer::from_json(json.dump(), R"({"eos_token":"<|user|>"})", "t");
  for (const std::string& text : sample_texts()) EXPECT_EQ(tokenizer.encode(text), same.encode(text)) << text;
  EXPECT_EQ(features_of(tokenizer), features_of(same));
  EXPECT_EQ(tokenizer.encode("a<|user|>", {.add_special = false, .parse_special = true}).back(), next);
  EXPECT_EQ(tokenizer.eos(), next);
  expect_same(tokenizer, through_gguf(tokenizer, tokenizer.vocab_size()));
}

// Whether a tokenizer is there is a matter of names: files that nobody could read, or not soon, are as good as any.
TEST(TokenizerCheckpoint, IsAvailableByName) {
  for (const std::string& name : Tokenizer::file_names()) {
    const Directory directory(Files{{name, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"}});
    std::filesystem::resize_file(directory.path / name, std::uintmax_t{1} << 30);
    const bool is_settings = name.starts_with("chat_template") || name.ends_with("_config.json") ||
                             name.ends_with("_map.json") || name == "added_tokens.json";
    EXPECT_EQ(Tokenizer::available(Checkpoint::open(directory.path)), !is_settings) << name;
  }
  const Directory directory(Files{{"tokenizer.json", "{"}});
  EXPECT_FALSE(Tokenizer::available(Checkpoint::open(directory.path / "model.safetensors")));
}

// A class that is named as nothing is no class.
TEST(TokenizerCheckpoint, ATokenizerClassOfNullIsNone) {
  const Files files = {{"vocab.json", R"({"a":0,"b":1,"ab":2})"}, {"merges.txt", "a b\n"}};
  const Directory unnamed(files);
  const Tokenizer expected = Tokenizer::from_checkpoint(Checkpoint::open(unnamed.path));
  for (const char* config :
       {R"({"tokenizer_class":null})", R"({"tokenizer_class":null,"eos_token":null})", R"({"tokenizer_class":""})"}) {
    std::ofstream(unnamed.path / "tokenizer_config.json") << config;
    const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(unnamed.path));
    EXPECT_EQ(tokenizer.encode("abba"), expected.encode("abba")) << config;
    EXPECT_EQ(tokenizer.kind(), expected.kind()) << config;
  }
}

TEST(TokenizerCheckpoint, TokenizersInOtherFilesAreRefused) {
  const std::string advice =
      "save the tokenizer as tokenizer.json beside it (transformers: AutoTokenizer, save_pretrained)";
  EXPECT_EQ(error_of({{"vocab.json", R"({"a":0})"}}),
            "DIR/vocab.json: a tokenizer needs merges.txt, too, which is not here; add it, or " + advice);
  EXPECT_EQ(error_of({{"merges.txt", "a b\n"}}),
            "DIR/merges.txt: a tokenizer needs vocab.json, too, which is not here; add it, or " + advice);
  EXPECT_EQ(error_of({{"vocab.txt", "[UNK]\n"}}), "DIR/vocab.txt: tokenizers in such files are not read; " + advice);
  EXPECT_EQ(error_of({{"vocab.json", R"({"a":0})"},
                      {"merges.txt", ""},
                      {"tokenizer_config.json", R"({"tokenizer_class":"BertTokenizer"})"}}),
            "DIR/tokenizer_config.json: how this class cuts text is known here only from tokenizer.json; save that "
            "beside it: BertTokenizer");
  EXPECT_EQ(error_of({{"vocab.json", R"({"a":0,)"}, {"merges.txt", ""}}),
            "DIR/vocab.json: text is not JSON at offset 7");
  EXPECT_EQ(
      error_of({{"vocab.json", R"({"a":0,"b":1})"}, {"merges.txt", "a b\n"}}),
      "DIR/vocab.json with merges.txt: model.merges: merge 0 needs a token that the vocabulary does not have: 'ab'");
}

TEST(TokenizerCheckpoint, ABrokenSideFileIsNamedWithItsPath) {
  const std::string tokenizer = read_repository_file("tests/data/tale-4M/tokenizer.json");
  EXPECT_EQ(error_of({{"tokenizer.json", tokenizer}, {"generation_config.json", "{"}}),
            "DIR/generation_config.json: text is not JSON at offset 1");
  EXPECT_EQ(error_of({{"tokenizer.json", tokenizer}, {"generation_config.json", ""}}),
            "DIR/generation_config.json: text is not JSON at offset 0");
  EXPECT_EQ(error_of({{"tokenizer.json", tokenizer}, {"generation_config.json", R"({"eos_token_id":1e999})"}}),
            "DIR/generation_config.json: eos_token_id: an integer is expected here");
  EXPECT_EQ(
      error_of({{"tokenizer.json", tokenizer}, {"generation_config.json", R"({"max_length":1e999,"top_p":NaN})"}}),
      "no error");
}

// What a GGUF file has no place for is found by trying texts, and said with one of them.
TEST(TokenizerFiles, WhatGgufCannotHoldIsNamed) {
  auto json = nlohmann::json::parse(read_repository_file("tests/data/tale-4M/tokenizer.json"));
  const auto losses = [](const nlohmann::json& changed) {
    const Tokenizer tokenizer = Tokenizer::from_json(changed.dump(), "", "t.json");
    return tokenizer.lost_in_gguf(tokenizer.to_gguf(tokenizer.vocab_size() + 8));
  };
  json["normalizer"] = nullptr;
  EXPECT_EQ(losses(json), std::vector<std::string>());
  const auto next = static_cast<std::int64_t>(Tokenizer::from_json(json.dump(), "", "t").vocab_size());
  for (const char* flag : {"lstrip", "rstrip", "single_word"}) {
    auto changed = json;
    changed["added_tokens"].push_back({{"id", next}, {"content", "<|x|>"}, {"special", true}, {flag, true}});
    changed["added_tokens"].push_back({{"id", next + 1}, {"content", "mask"}, {"special", false}, {flag, true}});
    const auto found = losses(changed);
    ASSERT_EQ(found.size(), 1u) << flag;
    EXPECT_NE(found[0].find("texts with '<|x|>', 'mask', because"), std::string::npos) << found[0];
    EXPECT_NE(found[0].find("(lstrip, rstrip, single_word)"), std::string::npos) << found[0];
  }
  const std::pair<const char*, const char*> normalizers[] = {{"NFC", "decomposed form"},
                                                             {"NFKC", "compatibility characters"},
                                                             {"NFD", "letters with accents"},
                                                             {"Lowercase", "capital letters"}};
  for (const auto& [type, what] : normalizers) {
    auto changed = json;
    changed["normalizer"] = {{"type", type}};
    const auto found = losses(changed);
    EXPECT_TRUE(std::ranges::any_of(found, [&](const std::string& loss) {
      return loss.find(what) != std::string::npos;
    })) << type;
  }
}

TEST(TokenizerCheckpoint, SentencePieceWithSideFiles) {
  const Directory directory(
      {{"tokenizer.model", read_tokenizer_file("bpe_bytes.model")},
       {"tokenizer_config.json", R"({"add_bos_token":false,"add_eos_token":true,"chat_template":"inline"})"},
       {"generation_config.json", R"({"eos_token_id":[2,7]})"},
       {"chat_template.jinja", "a file of its own"}});
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(directory.path));
  EXPECT_EQ(tokenizer.encode("").size(), 1u);
  EXPECT_EQ(tokenizer.encode("").back(), 2);
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_TRUE(tokenizer.is_end(2));
  EXPECT_TRUE(tokenizer.is_end(7));
  EXPECT_FALSE(tokenizer.is_end(8));
  EXPECT_EQ(tokenizer.chat_template(), "a file of its own");
}

// tokenizer.json keeps the order of merges only; the scores beside it are better.
TEST(TokenizerCheckpoint, ScoresComeFromTheSentencePieceModel) {
  const Tokenizer from_model = Tokenizer::from_sentencepiece(read_tokenizer_file("bpe_bytes.model"), "bpe_bytes.model");
  const Directory directory({{"tokenizer.json", from_model.to_huggingface().tokenizer_json},
                             {"tokenizer.model", read_tokenizer_file("bpe_bytes.model")}});
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(Checkpoint::open(directory.path));
  const std::uint64_t rows = tokenizer.vocab_size();
  EXPECT_EQ(tokenizer.to_gguf(rows).numbers("tokenizer.ggml.scores"),
            from_model.to_gguf(rows).numbers("tokenizer.ggml.scores"));
}

}  // namespace
}  // namespace nibble
