// SPDX-License-Identifier: Apache-2.0
#include "train/tokenizer_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "train/byte_pairs.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

// Words with the blank or mark before them, digits in runs of at most three, punctuation, line ends, blanks.
constexpr std::string_view kWords =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The characters that spell bytes, in their order in Unicode.
std::vector<std::string> byte_tokens() {
  std::vector<char32_t> characters;
  for (int byte = 0; byte < 256; ++byte) characters.push_back(tokenizing::spell_byte(static_cast<std::uint8_t>(byte)));
  std::ranges::sort(characters);
  std::vector<std::string> tokens;
  for (const char32_t character : characters) append_utf8(tokens.emplace_back(), character);
  return tokens;
}

Json byte_level(bool adds_space, bool trims, bool has_words) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", adds_space}, {"trim_offsets", trims}, {"use_regex", has_words}};
}

Json special_token(const std::string& text) {
  return {{"content", text}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false},  {"special", true}};
}

std::string config_json(const TokenizerTrainingOptions& options) {
  const Json config = {
      {"add_bos_token", true},
      {"add_eos_token", false},
      {"added_tokens_decoder", {{"0", special_token(options.begin)}, {"1", special_token(options.end)}}},
      {"bos_token", options.begin},
      {"eos_token", options.end},
      {"clean_up_tokenization_spaces", false},
      {"model_input_names", {"input_ids", "attention_mask"}},
      {"tokenizer_class", "PreTrainedTokenizerFast"}};
  return config.dump(2) + "\n";
}

// As the library writes it, so that whoever reads its files finds here what they expect.
std::string tokenizer_json(const TokenizerTrainingOptions& options, const BytePairs& pairs) {
  Json added = Json::array();
  for (const std::string* text : {&options.begin, &options.end}) {
    Json token = {{"id", added.size()}};
    token.update(special_token(*text));
    added.push_back(std::move(token));
  }
  const auto part = [](const char* kind, const std::string& id, int type) -> Json {
    return {{kind, {{"id", id}, {"type_id", type}}}};
  };
  const Json begin = part("SpecialToken", options.begin, 0), second = part("SpecialToken", options.begin, 1);
  const Json single = Json::array({begin, part("Sequence", "A", 0)});
  const Json pair = Json::array({begin, part("Sequence", "A", 0), second, part("Sequence", "B", 1)});
  const Json marks = {
      {options.begin, {{"id", options.begin}, {"ids", Json::array({0})}, {"tokens", Json::array({options.begin})}}}};
  Json vocabulary = Json::object(), merges = Json::array();
  for (std::size_t id = 0; id < pairs.tokens.size(); ++id) vocabulary[pairs.tokens[id]] = id;
  for (const auto& [left, right] : pairs.merges) merges.push_back({pairs.tokens[left], pairs.tokens[right]});
  const Json file = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", std::move(added)},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         Json::array(
             {{{"type", "Split"}, {"pattern", {{"Regex", kWords}}}, {"behavior", "Isolated"}, {"invert", false}},
              byte_level(false, true, false)})}}},
      {"post_processor",
       {{"type", "Sequence"},
        {"processors",
         Json::array(
             {byte_level(true, false, true),
              {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", marks}}})}}},
      {"decoder", byte_level(true, true, true)},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", std::move(vocabulary)},
        {"merges", std::move(merges)}}}};
  return file.dump(2);
}

}  // namespace

struct TokenizerTraining::State {
  TokenizerTrainingOptions options;
  tokenizing::PreTokenizer cut{tokenizing::Split{tokenizing::Pattern::regex(std::string(kWords), "words")},
                               tokenizing::ByteMap{}};
  std::map<std::string, std::uint64_t> words{};
};

TokenizerTraining::TokenizerTraining(const TokenizerTrainingOptions& options)
    : state_(std::make_unique<State>(State{.options = options})) {
  constexpr std::size_t kLeast = 2 + 256 + 1;
  if (options.size < kLeast)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a vocabulary has two special tokens, 256 of bytes and at least one more, {} in all: {}",
                            kLeast, options.size),
                "size");
}

TokenizerTraining::~TokenizerTraining() = default;

void TokenizerTraining::add(std::string_view text) {
  const std::string& separator = state_->options.separator;
  while (!text.empty()) {
    const std::size_t end = separator.empty() ? std::string_view::npos : text.find(separator);
    tokenizing::CutText cut = tokenizing::CutText::whole(replace_invalid_utf8(text.substr(0, end)));
    tokenizing::pre_tokenize(state_->cut, cut);
    for (std::size_t piece = 0; piece < cut.pieces.size(); ++piece) ++state_->words[std::string(cut[piece])];
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + separator.size());
  }
}

TrainedTokenizer TokenizerTraining::finish() const {
  const TokenizerTrainingOptions& options = state_->options;
  std::vector<std::string> tokens = {options.begin, options.end};
  std::ranges::move(byte_tokens(), std::back_inserter(tokens));
  const BytePairs pairs = learn_byte_pairs(state_->words, std::move(tokens), options.size);
  if (pairs.tokens.size() < options.size)
    throw Error(ErrorKind::unusable_input,
                fmt::format("the text has too few pairs of symbols for this vocabulary; give more text, or a smaller "
                            "size: {} tokens of {}",
                            pairs.tokens.size(), options.size),
                "size");
  return {tokenizer_json(options, pairs), config_json(options), state_->words.size(), pairs.merges.size()};
}

}  // namespace nibble
