// SPDX-License-Identifier: Apache-2.0
#include "tokenizer_data.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include "base/utf8.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/vocabulary.h"

namespace nibble {

std::string read_repository_file(const std::string& name) {
  std::ifstream file(std::string(NIBBLE_SOURCE_DIR "/") + name, std::ios::binary);
  if (!file) throw std::runtime_error("missing: " + name);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

std::string read_tokenizer_file(const std::string& name) {
  return read_repository_file("tests/data/tokenizer/" + name);
}

nlohmann::json read_tokenizer_vectors(const std::string& name) {
  return nlohmann::json::parse(read_tokenizer_file(name));
}

GgufMetadata gpt2_metadata() {
  std::vector<std::string> tokens;
  // The bytes that stand for themselves come first.
  for (const bool shifted : {false, true}) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      const char32_t character = tokenizing::spell_byte(static_cast<std::uint8_t>(byte));
      if ((character >= 0x100) != shifted) continue;
      append_utf8(tokens.emplace_back(), character);
    }
  }
  std::vector<std::string> merges;
  std::istringstream lines(read_tokenizer_file("gpt2_merges.txt"));
  for (std::string line; std::getline(lines, line);) {
    merges.push_back(line);
    tokens.push_back(line.erase(line.find(' '), 1));
  }
  tokens.push_back("<|endoftext|>");
  std::vector<std::int32_t> kinds(tokens.size(), 1);
  kinds.back() = 3;
  const auto end = static_cast<std::uint32_t>(tokens.size() - 1);
  GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", GgufValue::of_string("gpt2"));
  metadata.set("tokenizer.ggml.pre", GgufValue::of_string("gpt-2"));
  metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings(std::move(tokens)));
  metadata.set("tokenizer.ggml.token_type", GgufValue::of_i32s(kinds));
  metadata.set("tokenizer.ggml.merges", GgufValue::of_strings(std::move(merges)));
  metadata.set("tokenizer.ggml.bos_token_id", GgufValue::of_u32(end));
  metadata.set("tokenizer.ggml.eos_token_id", GgufValue::of_u32(end));
  return metadata;
}

GgufMetadata llama_spm_metadata() {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  for (unsigned byte = 0; byte < 256; ++byte)
    tokens.push_back(tokenizing::byte_token_text(static_cast<std::uint8_t>(byte)));
  for (const auto& piece : read_tokenizer_vectors("llama_pieces.json")) tokens.push_back(piece.get<std::string>());
  std::vector<std::int32_t> kinds(tokens.size(), 1);
  std::vector<float> scores(tokens.size(), 0);
  kinds[0] = 2;
  kinds[1] = kinds[2] = 3;
  for (std::size_t id = 3; id < 259; ++id) kinds[id] = 6;
  for (std::size_t id = 259; id < tokens.size(); ++id) {
    std::size_t spaces = 0;
    while (tokens[id].compare(spaces, 3, "\xE2\x96\x81") == 0) spaces += 3;
    scores[id] = spaces == tokens[id].size() ? -1e9f : 259.0f - static_cast<float>(id);
  }
  GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", GgufValue::of_string("llama"));
  metadata.set("tokenizer.ggml.pre", GgufValue::of_string("default"));
  metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings(std::move(tokens)));
  metadata.set("tokenizer.ggml.scores", GgufValue::of_f32s(scores));
  metadata.set("tokenizer.ggml.token_type", GgufValue::of_i32s(kinds));
  metadata.set("tokenizer.ggml.bos_token_id", GgufValue::of_u32(1));
  metadata.set("tokenizer.ggml.eos_token_id", GgufValue::of_u32(2));
  metadata.set("tokenizer.ggml.unknown_token_id", GgufValue::of_u32(0));
  metadata.set("tokenizer.ggml.add_bos_token", GgufValue::of_bool(true));
  metadata.set("tokenizer.ggml.add_eos_token", GgufValue::of_bool(false));
  return metadata;
}

GgufMetadata phi3_metadata() {
  GgufMetadata metadata = llama_spm_metadata();
  std::vector<std::string> tokens = *metadata.strings("tokenizer.ggml.tokens");
  const std::vector<double> old_scores = metadata.numbers("tokenizer.ggml.scores").value();
  const std::vector<double> old_kinds = metadata.numbers("tokenizer.ggml.token_type").value();
  std::vector<float> scores;
  for (const double score : old_scores) scores.push_back(static_cast<float>(score));
  std::vector<std::int32_t> kinds;
  for (const double kind : old_kinds) kinds.push_back(static_cast<std::int32_t>(kind));
  kinds[0] = kinds[1] = 3;
  kinds[2] = 4;
  for (const char* text :
       {"<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>",
        "<|placeholder4|>", "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>", "<|user|>"}) {
    tokens.emplace_back(text);
    scores.push_back(-1000);
    kinds.push_back(3);
  }
  while (tokens.size() < 32064) {
    tokens.push_back("[PAD" + std::to_string(tokens.size()) + "]");
    scores.push_back(-10000);
    kinds.push_back(2);
  }
  metadata.set("general.name", GgufValue::of_string("Phi3"));
  metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings(std::move(tokens)));
  metadata.set("tokenizer.ggml.scores", GgufValue::of_f32s(scores));
  metadata.set("tokenizer.ggml.token_type", GgufValue::of_i32s(kinds));
  metadata.set("tokenizer.ggml.eos_token_id", GgufValue::of_u32(32000));
  metadata.set("tokenizer.ggml.padding_token_id", GgufValue::of_u32(32000));
  return metadata;
}

}  // namespace nibble
