// SPDX-License-Identifier: Apache-2.0
//
// Files with one named defect each, and the exact sentence that says so.
#include <gtest/gtest.h>

#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "tokenizer_data.h"

namespace nibble {
namespace {

template <class Act>
void expect_error(ErrorKind kind, std::string_view message, Act&& act) {
  try {
    act();
    ADD_FAILURE() << "no error, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(std::string_view(error.what()), message);
    EXPECT_EQ(error.kind(), kind) << message;
  }
}

// A tokenizer.json with some parts replaced.
std::string json_with(const std::string& model, const std::string& rest = "") {
  return R"({"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"decoder":null,"post_processor":null,"model":)" +
         model + rest + "}";
}

const char* const kTinyModel = R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})";

struct BadJson {
  const char* name;
  ErrorKind kind;
  std::string text;
  const char* message;
};

std::vector<BadJson> bad_json() {
  const auto corrupt = ErrorKind::corrupt;
  const auto unsupported = ErrorKind::unsupported;
  const auto with = [](const std::string& key, const std::string& value) {
    return R"({"version":"1.0",")" + key + "\":" + value + R"(,"model":)" + kTinyModel + "}";
  };
  return {
      {"empty", corrupt, "", "t.json: text is not JSON at offset 0"},
      {"truncated", corrupt, R"({"version":"1.0","model":{"type":"BPE","vo)", "t.json: text is not JSON at offset 42"},
      {"stray comma", corrupt, R"({"version":"1.0",})", "t.json: text is not JSON at offset 17"},
      {"id beyond 64 bits", corrupt,
       json_with(R"({"type":"BPE","vocab":{"a":1000000000000000019884624838656},"merges":[]})"),
       "t.json: model.vocab: token 'a' has no integer id"},
      {"a number where a text is read", corrupt, json_with(R"({"type":NaN,"vocab":{"a":0},"merges":[]})"),
       "t.json: model.type: a string is expected here"},
      {"not an object", corrupt, "[]", "t.json: an object is expected here"},
      {"no model", corrupt, "{}", "t.json: 'model' is missing"},
      {"another version", unsupported, R"({"version":"2.0"})", "t.json: version: this version is not supported: '2.0'"},
      {"unknown model", unsupported, json_with(R"({"type":"WordPiece","vocab":{}})"),
       "t.json: model: model type 'WordPiece' is not supported; BPE and Unigram are"},
      {"no vocabulary", corrupt, json_with(R"({"type":"BPE","merges":[]})"), "t.json: model: 'vocab' is missing"},
      {"empty vocabulary", corrupt, json_with(R"({"type":"BPE","vocab":{},"merges":[]})"),
       "t.json: model: the vocabulary is empty"},
      {"vocabulary is a list", corrupt, json_with(R"({"type":"BPE","vocab":["a"],"merges":[]})"),
       "t.json: model.vocab: an object is expected here"},
      {"id is a text", corrupt, json_with(R"({"type":"BPE","vocab":{"a":"0"},"merges":[]})"),
       "t.json: model.vocab: token 'a' has no integer id"},
      {"negative id", corrupt, json_with(R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"),
       "t.json: model.vocab: token 'a' has an id outside 0..2097151: -1"},
      {"absurd id", corrupt, json_with(R"({"type":"BPE","vocab":{"a":4000000000},"merges":[]})"),
       "t.json: model.vocab: token 'a' has an id outside 0..2097151: 4000000000"},
      {"same id twice", corrupt, json_with(R"({"type":"BPE","vocab":{"a":0,"b":0},"merges":[]})"),
       "t.json: model.vocab: tokens 'a' and 'b' have the same id: 0"},
      {"empty token", corrupt, json_with(R"({"type":"BPE","vocab":{"":0},"merges":[]})"),
       "t.json: model.vocab: the token with id 0 is empty"},
      {"no merges", corrupt, json_with(R"({"type":"BPE","vocab":{"a":0}})"), "t.json: model: 'merges' is missing"},
      {"merge of an unknown token", corrupt, json_with(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]})"),
       "t.json: model.merges: merge 0 needs a token that the vocabulary does not have: 'ab'"},
      {"merge with an unknown part", corrupt,
       json_with(R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b",["a","c"]]})"),
       "t.json: model.merges: merge 1 needs a token that the vocabulary does not have: 'c'"},
      {"merge of three", corrupt, json_with(R"({"type":"BPE","vocab":{"a":0},"merges":["a b c"]})"),
       "t.json: model.merges: merge 0 is not two pieces with one space between them: 'a b c'"},
      {"merge is a number", corrupt, json_with(R"({"type":"BPE","vocab":{"a":0},"merges":[7]})"),
       "t.json: model.merges: merge 0 is neither a text nor a pair of texts"},
      {"dropout", unsupported, json_with(R"({"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]})"),
       "t.json: model.dropout: a tokenizer with dropout gives other tokens at every call; set it to null"},
      {"unk_id out of range", corrupt, json_with(R"({"type":"Unigram","unk_id":5,"vocab":[["a",-1.0]]})"),
       "t.json: model: unk_id is not a piece: 5"},
      {"unigram piece without score", corrupt, json_with(R"({"type":"Unigram","unk_id":0,"vocab":[["a"]]})"),
       "t.json: model.vocab: piece 0 is not a pair of text and score"},
      {"unknown normalizer", unsupported,
       with("normalizer", R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"BertNormalizer"}]})"),
       "t.json: normalizer.normalizers[1]: normalizer 'BertNormalizer' is not supported"},
      {"normalizer without type", corrupt, with("normalizer", "{}"), "t.json: normalizer: 'type' is missing"},
      {"charsmap is not base64", corrupt, with("normalizer", R"({"type":"Precompiled","precompiled_charsmap":"*"})"),
       "t.json: normalizer.precompiled_charsmap: this is not base64"},
      {"charsmap too short", corrupt, with("normalizer", R"({"type":"Precompiled","precompiled_charsmap":"/////w=="})"),
       "t.json: normalizer.precompiled_charsmap: the trie claims 4294967295 bytes of 0"},
      {"unknown pre-tokenizer", unsupported, with("pre_tokenizer", R"({"type":"UnicodeScripts"})"),
       "t.json: pre_tokenizer: pre-tokenizer 'UnicodeScripts' is not supported"},
      {"unknown behaviour", unsupported,
       with("pre_tokenizer", R"({"type":"Split","pattern":{"String":" "},"behavior":"Sideways"})"),
       "t.json: pre_tokenizer.behavior: split behaviour 'Sideways' is not supported"},
      {"broken regex", unsupported,
       with("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
       "t.json: pre_tokenizer.pattern.Regex: this regular expression cannot be compiled: missing closing parenthesis "
       "at offset 2 of '(a'"},
      {"class intersection", unsupported,
       with("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"[a&&b]"},"behavior":"Isolated"})"),
       "t.json: pre_tokenizer.pattern.Regex: this regular expression uses an intersection of character classes (&&) "
       "that is neither [A&&[B]] nor [A&&[^B]], at offset 2: '[a&&b]'"},
      {"unknown decoder", unsupported, with("decoder", R"({"type":"CTC"})"),
       "t.json: decoder: decoder 'CTC' is not supported"},
      {"unknown post-processor", unsupported, with("post_processor", R"({"type":"Magic"})"),
       "t.json: post_processor: post-processor 'Magic' is not supported"},
      {"template with an unknown id", corrupt,
       with(
           "post_processor",
           R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{"x":{"ids":[9]}}})"),
       "t.json: post_processor.special_tokens.x.ids[0]: names a token that the vocabulary does not have: 9"},
      {"empty added token", corrupt, with("added_tokens", R"([{"id":3,"content":""}])"),
       "t.json: added_tokens[0]: an added token is empty"},
  };
}

TEST(TokenizerErrors, Json) {
  for (const BadJson& bad : bad_json()) {
    SCOPED_TRACE(bad.name);
    expect_error(bad.kind, bad.message, [&] { Tokenizer::from_json(bad.text, "", "t.json"); });
  }
}

TEST(TokenizerErrors, TokenizerConfig) {
  expect_error(ErrorKind::corrupt, "tokenizer_config.json: bos_token: a string is expected here",
               [] { Tokenizer::from_json(json_with(kTinyModel), R"({"bos_token":1})", "t.json"); });
}

// The file at fault is named with its path, and numbers that nobody reads do not matter.
TEST(TokenizerErrors, SideFiles) {
  const std::string config =
      R"({"model_max_length":1000000000000000019884624838656,"x":[NaN,-Infinity,1e999],"bos_token":"a"})";
  EXPECT_EQ(Tokenizer::from_json(json_with(kTinyModel), config, "t.json").bos(), 0);
  EXPECT_EQ(Tokenizer::from_json("\xEF\xBB\xBF" + json_with(kTinyModel), "\xEF\xBB\xBF" + config, "t.json").bos(), 0);
  expect_error(ErrorKind::corrupt, "tokenizer_config.json: text is not JSON at offset 13",
               [] { Tokenizer::from_json(json_with(kTinyModel), R"({"bos_token":)", "t.json"); });
}

// What the reference readers read: the vocabulary's id holds, a taken id gives way to the next free one, and an unknown
// token that is none is not missed.
TEST(TokenizerErrors, WhatTheReferenceReads) {
  const auto read = [](const std::string& added) {
    return Tokenizer::from_json(R"({"added_tokens":)" + added + R"(,"model":)" + kTinyModel + "}", "", "t.json");
  };
  const EncodeOptions all{.add_special = false, .parse_special = true};
  EXPECT_EQ(read(R"([{"id":7,"content":"a","special":true}])").find_token("a"), 0);
  const Tokenizer taken = read(R"([{"id":1,"content":"<s>","special":true},{"id":3,"content":"<t>","special":true}])");
  EXPECT_EQ(taken.find_token("<s>"), 3);
  EXPECT_EQ(taken.find_token("<t>"), 4);
  EXPECT_EQ(taken.encode("b<s>", all), (std::vector<std::int32_t>{1, 3}));
  const Tokenizer unknown =
      Tokenizer::from_json(json_with(R"({"type":"BPE","unk_token":"?","vocab":{"a":0},"merges":[]})"), "", "t.json");
  EXPECT_EQ(unknown.encode("axa", all), (std::vector<std::int32_t>{0, 0}));
  const Tokenizer unigram =
      Tokenizer::from_json(json_with(R"({"type":"Unigram","unk_id":null,"vocab":[["a",-1.0]]})"), "", "t.json");
  EXPECT_EQ(unigram.encode("axa", all), (std::vector<std::int32_t>{0, 0}));
}

// Every cut of a real file is refused or read, never more.
TEST(TokenizerErrors, TruncatedSentencePiece) {
  const std::string model = read_tokenizer_file("unigram.model");
  std::size_t refused = 0;
  for (std::size_t size = 0; size < model.size(); size += 7) {
    try {
      Tokenizer::from_sentencepiece(std::string_view(model).substr(0, size), "t.model");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, model.size() / 7 / 2);
}

TEST(TokenizerErrors, SentencePiece) {
  const auto expect = [](ErrorKind kind, const std::string& bytes, const std::string& message) {
    expect_error(kind, message, [&] { Tokenizer::from_sentencepiece(bytes, "t.model"); });
  };
  expect(ErrorKind::corrupt, "", "t.model: not a SentencePiece model: it has no pieces at offset 0");
  expect(ErrorKind::corrupt, "\x0A\x05",
         "t.model: not a SentencePiece model: a field of 5 bytes has only 0 left at offset 2");
  expect(ErrorKind::corrupt, "\x0B",
         "t.model: not a SentencePiece model: a field has a wire type that does not exist at offset 1");
  expect(ErrorKind::corrupt, std::string(11, '\xFF'),
         "t.model: not a SentencePiece model: a number is too long at offset 10");
  expect(ErrorKind::corrupt, std::string("\x00\x00", 2),
         "t.model: not a SentencePiece model: a field has no valid number at offset 1");
  // A piece "a" of type 9; a piece without text; a word model; twice the piece "a".
  expect(ErrorKind::corrupt,
         "\x0A\x05\x0A\x01"
         "a"
         "\x18\x09",
         "t.model: not a SentencePiece model: a piece has an unknown type: 9 at offset 7");
  expect(ErrorKind::corrupt, std::string("\x0A\x00", 2),
         "t.model: not a SentencePiece model: a piece is empty or not UTF-8 at offset 2");
  expect(ErrorKind::unsupported,
         "\x0A\x03\x0A\x01"
         "a"
         "\x12\x02\x18\x03",
         "t.model: SentencePiece models of type 3 are not supported; 1 (Unigram) and 2 (BPE) are");
  expect(ErrorKind::corrupt,
         "\x0A\x03\x0A\x01"
         "a"
         "\x0A\x03\x0A\x01"
         "a",
         "t.model: piece 'a' appears twice, the second time as id 1");
}

GgufMetadata tiny_gguf() {
  GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", GgufValue::of_string("gpt2"));
  metadata.set("tokenizer.ggml.pre", GgufValue::of_string("gpt-2"));
  metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings({"a", "b", "ab"}));
  metadata.set("tokenizer.ggml.merges", GgufValue::of_strings({"a b"}));
  return metadata;
}

TEST(TokenizerErrors, Gguf) {
  const auto expect = [](ErrorKind kind, const std::string& key, GgufValue value, const std::string& message) {
    GgufMetadata metadata = tiny_gguf();
    metadata.set("tokenizer.ggml." + key, std::move(value));
    const std::string full = "m.gguf: " + message;
    expect_error(kind, full, [&] { Tokenizer::from_gguf(metadata, "m.gguf"); });
  };
  EXPECT_EQ(Tokenizer::from_gguf(tiny_gguf(), "m.gguf").encode("ab", {.add_special = false}),
            (std::vector<std::int32_t>{2}));
  expect(ErrorKind::not_found, "model", GgufValue::of_string("none"),
         "this file carries no tokenizer (tokenizer.ggml.model is 'none' or missing)");
  expect(ErrorKind::unsupported, "model", GgufValue::of_string("bert"),
         "tokenizer.ggml.model: tokenizers of kind 'bert' are not supported; llama, gpt2, gemma4 and t5 are");
  expect(ErrorKind::unsupported, "pre", GgufValue::of_string("mystery"),
         "tokenizer.ggml.pre: the split rule 'mystery' is not known; its text would be cut into other tokens than the "
         "model was trained on");
  expect(ErrorKind::corrupt, "tokens", GgufValue::of_strings({}), "tokenizer.ggml.tokens: 0 tokens");
  expect(ErrorKind::corrupt, "tokens", GgufValue::of_strings({"a", "\xFF", "ab"}),
         "tokenizer.ggml.tokens: token 1 is not UTF-8");
  expect(ErrorKind::corrupt, "token_type", GgufValue::of_i32s({1, 1}),
         "tokenizer.ggml.token_type: 2 values for 3 tokens");
  expect(ErrorKind::corrupt, "merges", GgufValue::of_strings({"ab"}),
         "tokenizer.ggml.merges: merge 0 has no space between two pieces: 'ab'");
  expect(ErrorKind::corrupt, "merges", GgufValue::of_strings({"b a"}),
         "tokenizer.ggml.merges: merge 0 needs a token that the vocabulary does not have: 'ba'");
  expect(ErrorKind::corrupt, "model", GgufValue::of_string("llama"),
         "tokenizer.ggml.scores: the key is missing, and without scores the order of merges is lost");
  GgufMetadata metadata = tiny_gguf();
  metadata.erase("tokenizer.ggml.merges");
  expect_error(ErrorKind::corrupt, "m.gguf: tokenizer.ggml.merges: the key is missing",
               [&] { Tokenizer::from_gguf(metadata, "m.gguf"); });
}

// Of two tokens with one text the first is made; both come out as it, and tokenizer.json tells them apart.
TEST(TokenizerErrors, GgufWithTwoTokensOfOneText) {
  GgufMetadata metadata = tiny_gguf();
  metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings({"a", "b", "ab", "a"}));
  const Tokenizer tokenizer = Tokenizer::from_gguf(metadata, "m.gguf");
  EXPECT_EQ(tokenizer.encode("a", {.add_special = false}), (std::vector<std::int32_t>{0}));
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{0, 3}), "aa");
  const Tokenizer::HfFiles files = tokenizer.to_huggingface();
  EXPECT_EQ(Tokenizer::from_json(files.tokenizer_json, files.tokenizer_config_json, "written").token_text(3), "a[3]");
}

TEST(TokenizerErrors, Use) {
  const Tokenizer tokenizer = Tokenizer::from_json(json_with(kTinyModel), "", "t.json");
  expect_error(ErrorKind::invalid_argument, "t.json: there is no token with this id, the vocabulary has 3: 3",
               [&] { tokenizer.piece(3); });
  expect_error(ErrorKind::invalid_argument, "t.json: there is no token with this id, the vocabulary has 3: -1",
               [&] { tokenizer.decode(std::vector<std::int32_t>{0, -1}); });
  expect_error(ErrorKind::corrupt, "t.json: token 2 is 'ab', but the embedding has only 2 rows",
               [&] { tokenizer.to_gguf(2); });
}

// An expression that backtracks without end is stopped, not waited for.
TEST(TokenizerErrors, CatastrophicRegex) {
  const std::string text =
      R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a+)+\\d"},"behavior":"Isolated"},"model":)" +
      std::string(kTinyModel) + "}";
  const Tokenizer tokenizer = Tokenizer::from_json(text, "", "t.json");
  expect_error(ErrorKind::resource,
               "t.json: pre_tokenizer.pattern.Regex: this regular expression takes too many steps on the text given "
               "(match limit exceeded): "
               "'(a+)+\\d'",
               [&] { tokenizer.encode(std::string(60, 'a')); });
}

}  // namespace
}  // namespace nibble
