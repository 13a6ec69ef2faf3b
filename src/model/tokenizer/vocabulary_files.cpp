// SPDX-License-Identifier: Apache-2.0
//
// Byte-level tokenizers from before tokenizer.json: vocab.json and merges.txt, with added_tokens.json,
// special_tokens_map.json and tokenizer_config.json beside them. They are put together into the tokenizer.json that
// says the same.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "io/json_text.h"
#include "io/message_text.h"
#include "model/tokenizer/parts.h"
#include "model/tokenizer/split_rules.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kNamedTokens = {"bos_token", "eos_token", "unk_token",  "pad_token",
                                     "sep_token", "cls_token", "mask_token", "additional_special_tokens"};
constexpr const char* kGpt2End = "<|endoftext|>";  // of GPT-2's class where nothing names another

enum class SplitKind { gpt2, qwen2 };

// How the class that wrote the files cuts text into words.
SplitKind split_of(const Json& config, const std::string& source) {
  const auto named = config.find("tokenizer_class");
  std::string name = named != config.end() && named->is_string() ? named->get<std::string>() : "";
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  for (const char* known : {"", "GPT2Tokenizer", "CodeGenTokenizer", "PreTrainedTokenizer"})
    if (name == known) return SplitKind::gpt2;
  if (name == "Qwen2Tokenizer") return SplitKind::qwen2;
  throw Error(
      ErrorKind::unsupported,
      fmt::format("{}: how this class cuts text is known here only from tokenizer.json; save that beside it: {}",
                  source, name));
}

class AddedList {
 public:
  explicit AddedList(const nlohmann::json& vocabulary) : vocabulary_(vocabulary) {}

  // `entry`: a text, or an object with the text as content and flags. Without an id the vocabulary's; tokens that have
  // none are left out.
  void add(const Json& entry, std::optional<std::int64_t> id, std::optional<bool> special) {
    Json token = entry.is_object() ? entry : Json{{"content", entry}};
    if (!token.contains("content") || !token["content"].is_string()) return;
    const auto content = token["content"].get<std::string>();
    if (const auto known = tokens_.find(content); known != tokens_.end()) {
      if (special.value_or(false)) known->second["special"] = true;
      return;
    }
    if (!id) {
      const auto found = vocabulary_.find(content);
      if (found == vocabulary_.end() || !found->is_number_integer()) return;
      id = found->get<std::int64_t>();
    }
    if (special) token["special"] = *special;
    token["id"] = *id;
    tokens_.emplace(content, std::move(token));
    order_.push_back(content);
  }

  Json list() const {
    Json list = Json::array();
    for (const std::string& content : order_) list.push_back(tokens_.at(content));
    return list;
  }

 private:
  const nlohmann::json& vocabulary_;  // not in order, so that a key is found without a pass
  std::map<std::string, Json> tokens_;
  std::vector<std::string> order_;
};

void add_named(const Json& config, AddedList& added) {
  for (const char* name : kNamedTokens) {
    const auto found = config.find(name);
    if (found == config.end()) continue;
    if (!found->is_array()) added.add(*found, std::nullopt, true);
    for (const Json& entry : found->is_array() ? *found : Json::array()) added.add(entry, std::nullopt, true);
  }
}

Json added_tokens(const nlohmann::json& vocabulary, const Json& config, const Json& added_file,
                  const Json& special_map) {
  AddedList added(vocabulary);
  if (const auto listed = config.find("added_tokens_decoder"); listed != config.end() && listed->is_object())
    for (const auto& [id, token] : listed->items())
      if (!id.empty() && id.find_first_not_of("0123456789") == std::string::npos && id.size() < 10)
        added.add(token, std::stoll(id), std::nullopt);
  for (const auto& [text, id] : added_file.items())
    if (id.is_number_integer()) added.add(text, id.get<std::int64_t>(), std::nullopt);
  add_named(special_map, added);
  add_named(config, added);
  if (!config.contains("eos_token") && !special_map.contains("eos_token")) added.add(kGpt2End, std::nullopt, true);
  return added.list();
}

// One merge a line; the first line may say the version.
std::vector<std::string> merge_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !(lines.empty() && line.starts_with("#version"))) lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

Json object_of(std::string_view text, const std::string& source) {
  if (text.empty()) return Json::object();
  Json json = parse_json(text, source);
  if (!json.is_object()) throw Error(ErrorKind::corrupt, source + ": an object is expected here");
  return json;
}

std::string assemble(std::string_view vocabulary, const std::vector<std::string>& merges, const Json& added,
                     SplitKind kind, bool adds_space) {
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", adds_space},
                           {"trim_offsets", true},
                           {"use_regex", kind == SplitKind::gpt2}};
  Json json = {{"version", "1.0"},
               {"added_tokens", added},
               {"normalizer", nullptr},
               {"pre_tokenizer", byte_level},
               {"decoder", byte_level}};
  if (kind == SplitKind::qwen2) {
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", split_rule("qwen2")->spellings.front().front()}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    json["normalizer"] = {{"type", "NFC"}};
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}};
  }
  std::string text = dump_json(json);
  text.pop_back();
  text += R"(,"model":{"type":"BPE","vocab":)";
  text += vocabulary;
  text += ",\"merges\":" + Json(merges).dump();
  return text + "}}";
}

}  // namespace

TokenizerParts read_vocabulary_files(const VocabularyFiles& files, const SideFiles& sides) {
  const std::string source = sides.directory + "vocab.json with merges.txt";
  const std::string vocabulary = plain_json(files.vocabulary, sides.directory + "vocab.json");
  const Json config = object_of(sides.tokenizer_config, sides.directory + "tokenizer_config.json");
  const Json added_file = object_of(files.added_tokens, sides.directory + "added_tokens.json");
  const Json special_map = object_of(files.special_tokens_map, sides.directory + "special_tokens_map.json");
  if (const auto bad = find_invalid_utf8(files.merges); bad != std::string::npos)
    throw Error(ErrorKind::corrupt, fmt::format("{}merges.txt: text is not UTF-8 at offset {}", sides.directory, bad));
  const nlohmann::json unordered = nlohmann::json::parse(vocabulary);
  if (!unordered.is_object())
    throw Error(ErrorKind::corrupt, sides.directory + "vocab.json: an object is expected here");
  const SplitKind kind = split_of(config, sides.directory + "tokenizer_config.json");
  const auto flag = [&config](const char* key) {
    const auto found = config.find(key);
    return found != config.end() && found->is_boolean() && found->get<bool>();
  };
  const std::string text =
      assemble(vocabulary, merge_lines(files.merges), added_tokens(unordered, config, added_file, special_map), kind,
               flag("add_prefix_space"));
  TokenizerParts parts = read_tokenizer_json(text, sides, source);
  if (!parts.special.eos) parts.special.eos = parts.vocabulary.find(kGpt2End);
  if (flag("add_bos_token") && parts.special.bos) parts.prefix = {*parts.special.bos};
  return parts;
}

}  // namespace nibble::tokenizing
