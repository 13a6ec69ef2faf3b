// SPDX-License-Identifier: Apache-2.0
#include "serve/api/token_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace nibble::serve {

namespace {

Json bytes_of(const std::string& piece) {
  Json bytes = Json::array();
  for (const char c : piece) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

Json one_chance(std::int32_t id, double log_probability, const Tokenizer& tokenizer) {
  const std::string piece = tokenizer.piece(id);
  return {{"token", replace_invalid_utf8(piece)},
          {"logprob", told_log_probability(log_probability)},
          {"bytes", bytes_of(piece)}};
}

// A piece that is no whole text goes by its bytes, so that no two have one name.
std::string name_of(const std::string& piece) {
  if (find_invalid_utf8(piece) == std::string::npos) return piece;
  std::string name = "bytes:";
  for (const char c : piece) name += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return name;
}

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

}  // namespace

double told_log_probability(double value) noexcept { return std::max(value, -9999.0); }

Json chat_logprobs(std::span<const ToldToken> tokens, const Tokenizer& tokenizer) {
  Json list = Json::array();
  for (const ToldToken& token : tokens) {
    Json one = one_chance(token.id, token.log_probability.value_or(0), tokenizer);
    one["top_logprobs"] = Json::array();
    for (const TokenChance& chance : token.most_probable)
      one["top_logprobs"].push_back(one_chance(chance.token, chance.log_probability, tokenizer));
    list.push_back(std::move(one));
  }
  return list;
}

Json TextLogprobs::empty() {
  return {{"tokens", Json::array()},
          {"token_logprobs", Json::array()},
          {"top_logprobs", Json::array()},
          {"text_offset", Json::array()}};
}

void TextLogprobs::add(std::span<const ToldToken> tokens, const Tokenizer& tokenizer, bool counts_special) {
  for (const ToldToken& token : tokens) {
    const std::string piece = tokenizer.piece(token.id);
    lists_["tokens"].push_back(name_of(piece));
    lists_["text_offset"].push_back(offset_);
    if (counts_special || !tokenizer.is_special(token.id)) offset_ += count_code_points(piece);
    if (!token.log_probability) {
      lists_["token_logprobs"].push_back(nullptr);
      lists_["top_logprobs"].push_back(nullptr);
      continue;
    }
    lists_["token_logprobs"].push_back(told_log_probability(*token.log_probability));
    Json top = Json::object();
    for (const TokenChance& chance : token.most_probable)
      top[name_of(tokenizer.piece(chance.token))] = told_log_probability(chance.log_probability);
    // The token itself is always among them.
    top[name_of(piece)] = told_log_probability(*token.log_probability);
    lists_["top_logprobs"].push_back(std::move(top));
  }
}

Json TextLogprobs::take() { return std::exchange(lists_, empty()); }

}  // namespace nibble::serve
