// SPDX-License-Identifier: Apache-2.0
//
// Normalizers, pre-tokenizers, post-processors and decoders of tokenizer.json.
#include <fmt/format.h>

#include <string>

#include "model/tokenizer/base64.h"
#include "model/tokenizer/split_rules.h"
#include "model/tokenizer/tokenizer_json.h"

namespace nibble::tokenizing {
namespace {

void append_normalizer(const JsonView& view, Normalizer& steps) {
  const std::string type(view.at("type").string());
  if (type == "Sequence") {
    for (const JsonView& inner : view.at("normalizers").elements()) append_normalizer(inner, steps);
  } else if (type == "NFC") {
    steps.push_back(ToForm{UnicodeForm::nfc});
  } else if (type == "NFD") {
    steps.push_back(ToForm{UnicodeForm::nfd});
  } else if (type == "NFKC") {
    steps.push_back(ToForm{UnicodeForm::nfkc});
  } else if (type == "NFKD") {
    steps.push_back(ToForm{UnicodeForm::nfkd});
  } else if (type == "Lowercase") {
    steps.push_back(Lowercase{});
  } else if (type == "StripAccents") {
    steps.push_back(StripAccents{});
  } else if (type == "Prepend") {
    steps.push_back(Prepend{std::string(view.at("prepend").string())});
  } else if (type == "Replace") {
    steps.push_back(Replace{read_pattern(view.at("pattern")), std::string(view.at("content").string())});
  } else if (type == "Strip") {
    steps.push_back(StripSpaces{view.boolean_or("strip_left", true), view.boolean_or("strip_right", true)});
  } else if (type == "Precompiled") {
    const JsonView map = view.at("precompiled_charsmap");
    const auto blob = decode_base64(map.string());
    if (!blob) map.corrupt("this is not base64");
    steps.push_back(ApplyCharsMap{std::make_shared<const CharsMap>(*blob, map.place()), true});
  } else {
    view.unsupported(fmt::format("normalizer '{}' is not supported", type));
  }
}

SplitBehaviour read_behaviour(const JsonView& view) {
  const std::string_view name = view.string();
  if (name == "Removed") return SplitBehaviour::removed;
  if (name == "Isolated") return SplitBehaviour::isolated;
  if (name == "MergedWithPrevious") return SplitBehaviour::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehaviour::merged_with_next;
  if (name == "Contiguous") return SplitBehaviour::contiguous;
  view.unsupported(fmt::format("split behaviour '{}' is not supported", name));
}

PrependScheme read_prepend_scheme(const JsonView& view) {
  const auto scheme = view.find("prepend_scheme");
  // Before there were schemes a flag said it.
  if (!scheme) return view.boolean_or("add_prefix_space", true) ? PrependScheme::always : PrependScheme::never;
  const std::string_view name = scheme->string();
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  scheme->unsupported(fmt::format("prepend scheme '{}' is not supported", name));
}

void append_pre_tokenizer(const JsonView& view, PreTokenizer& steps) {
  const std::string type(view.at("type").string());
  const auto split_by = [&](std::string_view regex, SplitBehaviour behaviour, bool invert = false) {
    steps.emplace_back(Split{Pattern::regex(std::string(regex), view.place()), behaviour, invert});
  };
  if (type == "Sequence") {
    for (const JsonView& inner : view.at("pretokenizers").elements()) append_pre_tokenizer(inner, steps);
  } else if (type == "Split") {
    steps.emplace_back(
        Split{read_pattern(view.at("pattern")), read_behaviour(view.at("behavior")), view.boolean_or("invert", false)});
  } else if (type == "ByteLevel") {
    if (view.boolean_or("add_prefix_space", true)) steps.emplace_back(AddSpace{});
    if (view.boolean_or("use_regex", true)) split_by(kGpt2Split, SplitBehaviour::isolated);
    steps.emplace_back(ByteMap{});
  } else if (type == "Digits") {
    split_by("\\p{N}",
             view.boolean_or("individual_digits", false) ? SplitBehaviour::isolated : SplitBehaviour::contiguous);
  } else if (type == "Punctuation") {
    const auto behaviour = view.find("behavior");
    split_by("[\\p{P}$+<=>^`|~]", behaviour ? read_behaviour(*behaviour) : SplitBehaviour::isolated);
  } else if (type == "Whitespace") {
    split_by("[\\w\\x{200C}\\x{200D}]+|[^\\w\\s\\x{200C}\\x{200D}]+", SplitBehaviour::removed, true);
  } else if (type == "WhitespaceSplit") {
    split_by("\\s", SplitBehaviour::removed);
  } else if (type == "CharDelimiterSplit") {
    steps.emplace_back(
        Split{Pattern::literal(std::string(view.at("delimiter").string())), SplitBehaviour::removed, false});
  } else if (type == "Metaspace") {
    steps.emplace_back(Metaspace{view.string_or("replacement", kVisibleSpace), read_prepend_scheme(view),
                                 view.boolean_or("split", true)});
  } else {
    view.unsupported(fmt::format("pre-tokenizer '{}' is not supported", type));
  }
}

void append_decoder(const JsonView& view, PieceDecoder& decoder, bool& fused) {
  const std::string type(view.at("type").string());
  if (type == "Sequence") {
    for (const JsonView& inner : view.at("decoders").elements()) append_decoder(inner, decoder, fused);
  } else if (type == "ByteLevel") {
    decoder.steps.push_back(FromByteAlphabet{});
  } else if (type == "Replace") {
    decoder.steps.push_back(Replace{read_pattern(view.at("pattern")), std::string(view.at("content").string())});
  } else if (type == "ByteFallback") {
    decoder.steps.push_back(FromByteToken{});
  } else if (type == "Fuse") {
    fused = true;
  } else if (type == "Strip") {
    const auto left = static_cast<std::size_t>(std::max<std::int64_t>(0, view.at("start").integer()));
    const auto right = static_cast<std::size_t>(std::max<std::int64_t>(0, view.at("stop").integer()));
    const std::string content(view.at("content").string());
    if (fused) {
      decoder.strip = content;
      decoder.strip_left = left;
      decoder.strip_right = right;
    } else {
      decoder.steps.push_back(StripEach{content, left, right});
    }
  } else if (type == "Metaspace") {
    const std::string replacement = view.string_or("replacement", kVisibleSpace);
    decoder.steps.push_back(Replace{Pattern::literal(replacement), " "});
    if (read_prepend_scheme(view) != PrependScheme::never) decoder.drop_from_first = replacement;
  } else if (type == "BPEDecoder") {
    decoder.steps.push_back(Replace{Pattern::literal(view.string_or("suffix", "</w>")), " "});
    decoder.strip_right = 1;
  } else {
    view.unsupported(fmt::format("decoder '{}' is not supported", type));
  }
}

std::int32_t known_id(const JsonView& view, std::int64_t id, const Vocabulary& vocabulary) {
  if (!vocabulary.contains(id) || vocabulary[static_cast<std::size_t>(id)].text.empty())
    view.corrupt(fmt::format("names a token that the vocabulary does not have: {}", id));
  return static_cast<std::int32_t>(id);
}

void read_template(const JsonView& view, TokenizerParts& parts) {
  bool behind = false;
  for (const JsonView& piece : view.at("single").elements()) {
    if (const auto sequence = piece.find("Sequence")) {
      if (behind) sequence->corrupt("the text stands twice in the template for one text");
      behind = true;
      continue;
    }
    const auto ids = view.at("special_tokens").at(piece.at("SpecialToken").at("id").string()).at("ids");
    for (const JsonView& id : ids.elements())
      (behind ? parts.suffix : parts.prefix).push_back(known_id(id, id.integer(), parts.vocabulary));
  }
}

// RobertaProcessing and BertProcessing: ["</s>", 2] behind, ["<s>", 0] before.
std::int32_t read_marker(const JsonView& view, const Vocabulary& vocabulary) {
  const auto pair = view.elements();
  if (pair.size() != 2) view.corrupt("a pair of token and id is expected here");
  return known_id(view, pair[1].integer(), vocabulary);
}

}  // namespace

Pattern read_pattern(const JsonView& view) {
  if (const auto text = view.find("String")) return Pattern::literal(std::string(text->string()));
  if (const auto regex = view.find("Regex")) return Pattern::regex(std::string(regex->string()), regex->place());
  view.corrupt("a pattern is either a String or a Regex");
}

Normalizer read_normalizer(const OptionalView& view) {
  Normalizer steps;
  if (view) append_normalizer(*view, steps);
  return steps;
}

PreTokenizer read_pre_tokenizer(const OptionalView& view) {
  PreTokenizer steps;
  if (view) append_pre_tokenizer(*view, steps);
  return steps;
}

PieceDecoder read_decoder(const OptionalView& view) {
  PieceDecoder decoder;
  bool fused = false;
  if (view) {
    append_decoder(*view, decoder, fused);
  } else {
    decoder.separator.assign(1, ' ');
  }
  return decoder;
}

void read_post_processor(const OptionalView& view, TokenizerParts& parts) {
  if (!view) return;
  const std::string type(view->at("type").string());
  if (type == "Sequence") {
    for (const JsonView& inner : view->at("processors").elements()) read_post_processor(inner, parts);
  } else if (type == "TemplateProcessing") {
    read_template(*view, parts);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    parts.prefix.push_back(read_marker(view->at("cls"), parts.vocabulary));
    parts.suffix.push_back(read_marker(view->at("sep"), parts.vocabulary));
  } else if (type != "ByteLevel") {
    view->unsupported(fmt::format("post-processor '{}' is not supported", type));
  }
}

}  // namespace nibble::tokenizing
