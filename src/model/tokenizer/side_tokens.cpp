// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/side_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "io/message_text.h"
#include "model/tokenizer/json_view.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

std::int32_t id_of(std::int64_t id, const JsonView& view) {
  if (id < 0 || static_cast<std::uint64_t>(id) >= Vocabulary::kMaxTokens)
    view.corrupt(fmt::format("an id outside 0..{}: {}", Vocabulary::kMaxTokens - 1, id));
  return static_cast<std::int32_t>(id);
}

void add(AddedToken token, std::vector<AddedToken>& added) {
  if (token.content.empty()) return;
  const auto same = std::ranges::find(added, token.content, &AddedToken::content);
  if (same == added.end()) added.push_back(std::move(token));
}

}  // namespace

std::string class_of(const SideFiles& sides) {
  if (sides.tokenizer_config.empty()) return "";
  return JsonText(sides.tokenizer_config, sides.directory + "tokenizer_config.json")
      .root()
      .string_or("tokenizer_class", "");
}

std::vector<AddedToken> read_side_tokens(const SideFiles& sides) {
  std::vector<AddedToken> added;
  if (!sides.tokenizer_config.empty()) {
    const JsonText config(sides.tokenizer_config, sides.directory + "tokenizer_config.json");
    if (const auto list = config.root().find("added_tokens_decoder"))
      for (const auto& [key, element] : list->object()) {
        const JsonView item = list->at(key);
        std::int64_t id = 0;
        const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
        if (error != std::errc() || end != key.data() + key.size()) item.corrupt("its key is not an id");
        AddedToken token;
        token.id = id_of(id, item);
        token.content = item.at("content").string();
        token.special = item.boolean_or("special", false);
        token.lstrip = item.boolean_or("lstrip", false);
        token.rstrip = item.boolean_or("rstrip", false);
        token.single_word = item.boolean_or("single_word", false);
        add(std::move(token), added);
      }
  }
  if (!sides.added_tokens.empty()) {
    const JsonText file(sides.added_tokens, sides.directory + "added_tokens.json");
    const JsonView root = file.root();
    for (const auto& [key, element] : root.object()) {
      AddedToken token;
      token.id = id_of(root.at(key).integer(), root.at(key));
      token.content = key;
      add(std::move(token), added);
    }
  }
  return added;
}

void require_agreement(const SideFiles& sides, const Vocabulary& vocabulary, const std::string& source) {
  if (sides.tokenizer_config.empty()) return;
  for (const AddedToken& token : read_side_tokens({sides.tokenizer_config, {}, {}, sides.directory})) {
    if (!vocabulary.contains(token.id)) continue;
    const std::string& text = vocabulary[static_cast<std::size_t>(token.id)].text;
    if (!text.empty() && text != token.content)
      throw Error(
          ErrorKind::corrupt,
          fmt::format("{}tokenizer_config.json: added_tokens_decoder.{}.content: {} is another token than the one "
                      "with this id in {}: {}",
                      sides.directory, token.id, quote_name(token.content), source, quote_name(text)));
  }
}

void put_side_tokens(const std::vector<AddedToken>& added, std::vector<Token>& tokens, const std::string& source) {
  std::unordered_map<std::string, std::size_t> places;
  for (std::size_t id = 0; id < tokens.size(); ++id)
    if (!tokens[id].text.empty()) places.emplace(tokens[id].text, id);
  for (const AddedToken& token : added) {
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= tokens.size()) tokens.resize(id + 1);
    Token& place = tokens[id];
    const auto known = places.find(token.content);
    if ((!place.text.empty() && place.text != token.content) || (known != places.end() && known->second != id))
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: the files beside it name {} as token {}, which is {} here", source,
                              quote_name(token.content), id,
                              place.text.empty() ? fmt::format("token {}", known->second) : quote_name(place.text)));
    place.text = token.content;
    if (place.kind != TokenKind::unknown) place.kind = token.special ? TokenKind::control : TokenKind::user_defined;
    place.special = token.special;
    places.emplace(token.content, id);
  }
}

}  // namespace nibble::tokenizing
