// SPDX-License-Identifier: Apache-2.0
//
// tokenizer.json and tokenizer_config.json. Written as text, because the vocabulary is an object with a hundred
// thousand keys in order.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/tokenizer/base64.h"
#include "model/tokenizer/parts.h"

namespace nibble::tokenizing {
namespace {

using Json = nlohmann::ordered_json;

std::string quote(std::string_view text) { return nlohmann::json(text).dump(); }

Json sequence(std::string_view list_name, const std::vector<Json>& items) {
  if (items.empty()) return nullptr;
  if (items.size() == 1) return items.front();
  return {{"type", "Sequence"}, {std::string(list_name), items}};
}

Json pattern_json(const Pattern& pattern) { return {{pattern.is_literal() ? "String" : "Regex", pattern.text()}}; }

Json replace_json(const Pattern& pattern, std::string_view content) {
  return {{"type", "Replace"}, {"pattern", pattern_json(pattern)}, {"content", content}};
}

struct NormalizerJson {
  std::vector<Json> items;
  void operator()(const ToForm& step) {
    constexpr std::string_view kNames[] = {"NFC", "NFD", "NFKC", "NFKD"};
    items.push_back({{"type", kNames[static_cast<std::size_t>(step.form)]}});
  }
  void operator()(const Lowercase&) { items.push_back({{"type", "Lowercase"}}); }
  void operator()(const StripAccents&) { items.push_back({{"type", "StripAccents"}}); }
  void operator()(const Prepend& step) { items.push_back({{"type", "Prepend"}, {"prepend", step.text}}); }
  void operator()(const Replace& step) { items.push_back(replace_json(step.pattern, step.content)); }
  void operator()(const StripSpaces& step) {
    items.push_back({{"type", "Strip"}, {"strip_left", step.left}, {"strip_right", step.right}});
  }
  void operator()(const ApplyCharsMap& step) {
    items.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(step.map->blob())}});
  }
  void operator()(const SentencePieceSpaces& step) {
    if (step.remove_extra) {
      items.push_back({{"type", "Replace"}, {"pattern", {{"Regex", "^ +| +$"}}}, {"content", ""}});
      items.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
    }
    const std::string_view space = step.escape ? kVisibleSpace : " ";
    if (step.add_prefix) items.push_back({{"type", "Prepend"}, {"prepend", space}});
    if (step.escape) items.push_back(replace_json(Pattern::literal(" "), kVisibleSpace));
  }
};

struct PreTokenizerJson {
  std::vector<Json> items;
  bool add_space = false;
  void operator()(const Split& step) {
    constexpr std::string_view kNames[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    items.push_back({{"type", "Split"},
                     {"pattern", pattern_json(step.pattern)},
                     {"behavior", kNames[static_cast<std::size_t>(step.behaviour)]},
                     {"invert", step.invert}});
  }
  // A space alone has no component; ByteLevel with its own expression brings it, and is put together again from its
  // three steps.
  void operator()(const AddSpace&) { add_space = true; }
  void operator()(const ByteMap&) {
    const bool own_expression = add_space && !items.empty();
    if (own_expression) items.pop_back();
    items.push_back({{"type", "ByteLevel"},
                     {"add_prefix_space", add_space},
                     {"trim_offsets", true},
                     {"use_regex", own_expression}});
    add_space = false;
  }
  void operator()(const Metaspace& step) {
    constexpr std::string_view kNames[] = {"always", "first", "never"};
    items.push_back({{"type", "Metaspace"},
                     {"replacement", step.replacement},
                     {"prepend_scheme", kNames[static_cast<std::size_t>(step.prepend)]},
                     {"split", step.split}});
  }
};

struct DecoderJson {
  std::vector<Json> items;
  bool metaspace = false;
  void operator()(const Replace& step) {
    if (metaspace) {
      items.push_back(
          {{"type", "Metaspace"}, {"replacement", step.pattern.text()}, {"prepend_scheme", "always"}, {"split", true}});
    } else {
      items.push_back(replace_json(step.pattern, step.content));
    }
  }
  void operator()(const FromByteAlphabet&) {
    items.push_back({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}});
  }
  void operator()(const FromByteToken&) { items.push_back({{"type", "ByteFallback"}}); }
  void operator()(const StripEach& step) {
    items.push_back({{"type", "Strip"}, {"content", step.content}, {"start", step.left}, {"stop", step.right}});
  }
};

Json decoder_json(const PieceDecoder& decoder) {
  DecoderJson json;
  json.metaspace = !decoder.drop_from_first.empty();
  for (const PieceDecoder::Step& step : decoder.steps) std::visit(json, step);
  const std::size_t left = decoder.strip_each_leading_piece ? 1 : decoder.strip_left;
  if (left > 0 || decoder.strip_right > 0) {
    json.items.push_back({{"type", "Fuse"}});
    json.items.push_back(
        {{"type", "Strip"}, {"content", decoder.strip}, {"start", left}, {"stop", decoder.strip_right}});
  }
  return sequence("decoders", json.items);
}

Json post_processor_json(const TokenizerParts& parts) {
  if (parts.prefix.empty() && parts.suffix.empty()) return nullptr;
  Json single = Json::array();
  Json pair = Json::array();
  Json special = Json::object();
  const auto add = [&](const std::vector<std::int32_t>& ids, int type_id) {
    for (const std::int32_t id : ids) {
      const std::string& text = parts.vocabulary[id].text;
      const Json item = {{"SpecialToken", {{"id", text}, {"type_id", type_id}}}};
      if (type_id == 0) single.push_back(item);
      pair.push_back(item);
      special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    }
  };
  const auto text = [](std::string_view name, int type_id) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type_id}}}};
  };
  add(parts.prefix, 0);
  single.push_back(text("A", 0));
  pair.push_back(text("A", 0));
  add(parts.suffix, 0);
  add(parts.prefix, 1);
  pair.push_back(text("B", 1));
  add(parts.suffix, 1);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

Json added_token_json(const AddedToken& token) {
  // What SentencePiece looks for in normalised text is spelt without a space in front, which a normalized token would
  // get.
  const bool normalized = token.normalized && token.matched != token.content;
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", normalized},
          {"special", token.special}};
}

std::string bpe_json(const TokenizerParts& parts, const BpeModel& bpe) {
  const BpeSettings& settings = bpe.settings();
  const Vocabulary& vocabulary = parts.vocabulary;
  const auto text_or_null = [](const std::string& text) { return text.empty() ? std::string("null") : quote(text); };
  std::string out = "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":";
  out += settings.unknown ? quote(vocabulary[*settings.unknown].text) : "null";
  out += ",\"continuing_subword_prefix\":" + text_or_null(settings.continuing_prefix);
  out += ",\"end_of_word_suffix\":" + text_or_null(settings.end_suffix);
  out += fmt::format(",\"fuse_unk\":{},\"byte_fallback\":{},\"ignore_merges\":{},\"vocab\":{{", settings.fuse_unknown,
                     settings.byte_fallback, settings.ignore_merges);
  std::string_view comma;
  for (std::size_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary[id].text.empty()) continue;
    // A text that two ids have leads to the first.
    const bool is_second = vocabulary.find(vocabulary[id].text) != static_cast<std::int32_t>(id);
    out += fmt::format("{}{}:{}", comma,
                       quote(is_second ? fmt::format("{}[{}]", vocabulary[id].text, id) : vocabulary[id].text), id);
    comma = ",";
  }
  out += "},\"merges\":[";
  std::vector<MergeTable::Entry> entries = bpe.merges().entries();
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.merge.rank < b.merge.rank; });
  comma = "";
  for (const MergeTable::Entry& entry : entries) {
    if (!bpe.is_token(entry.left) || !bpe.is_token(entry.right)) continue;
    out += fmt::format("{}[{},{}]", comma, quote(vocabulary[entry.left].text), quote(vocabulary[entry.right].text));
    comma = ",";
  }
  return out + "]}";
}

std::string unigram_json(const TokenizerParts& parts, const UnigramModel& unigram) {
  const std::int32_t unknown = unigram.settings().unknown;
  std::string out = fmt::format("{{\"type\":\"Unigram\",\"unk_id\":{},\"byte_fallback\":{},\"vocab\":[",
                                unknown < 0 ? "null" : std::to_string(unknown), unigram.settings().byte_fallback);
  for (std::size_t id = 0; id < parts.vocabulary.size(); ++id)
    out += fmt::format("{}[{},{}]", id == 0 ? "" : ",", quote(parts.vocabulary[id].text),
                       nlohmann::json(parts.vocabulary[id].score).dump());
  return out + "]}";
}

}  // namespace

std::string write_tokenizer_json(const TokenizerParts& parts) {
  NormalizerJson normalizer;
  for (const NormalizerStep& step : parts.normalizer) std::visit(normalizer, step);
  PreTokenizerJson pre_tokenizer;
  for (const PreTokenizerStep& step : parts.pre_tokenizer) std::visit(pre_tokenizer, step);
  Json added = Json::array();
  std::vector<AddedToken> tokens = parts.added.tokens();
  std::sort(tokens.begin(), tokens.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (const AddedToken& token : tokens) added.push_back(added_token_json(token));
  std::string out = "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":" + added.dump();
  out += ",\"normalizer\":" + sequence("normalizers", normalizer.items).dump();
  out += ",\"pre_tokenizer\":" + sequence("pretokenizers", pre_tokenizer.items).dump();
  out += ",\"post_processor\":" + post_processor_json(parts).dump();
  out += ",\"decoder\":" + decoder_json(parts.decoder).dump();
  out += ",\"model\":";
  out +=
      parts.bpe() != nullptr ? bpe_json(parts, *parts.bpe()) : unigram_json(parts, std::get<UnigramModel>(parts.model));
  return out + "}\n";
}

std::string write_tokenizer_config_json(const TokenizerParts& parts) {
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  config["add_bos_token"] = parts.adds_bos();
  config["add_eos_token"] = parts.adds_eos();
  const auto name = [&](const char* key, const std::optional<std::int32_t>& id) {
    if (id) config[key] = parts.vocabulary[*id].text;
  };
  name("bos_token", parts.special.bos);
  name("eos_token", parts.special.eos);
  name("unk_token", parts.special.unknown);
  name("pad_token", parts.special.padding);
  if (!parts.chat_template.empty()) config["chat_template"] = parts.chat_template;
  return config.dump(2) + "\n";
}

}  // namespace nibble::tokenizing
