// SPDX-License-Identifier: Apache-2.0
//
// Which tokens a JSON schema leaves along texts, for tests/clients/grammar.py to hold against another program's.
//
//   grammar_masks MODEL < lines of {"schema": ..., "texts": [[ids]]} > a line each of {"masks": [["hex"]]}, the bits of
//   tokens before each id and behind the last, up to an id that is not left; or of {"refused": "why"}
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "nibble/error.h"
#include "serve/grammar/json_schema.h"
#include "serve/grammar/token_constraint.h"

namespace nibble::serve {
namespace {

using Json = nlohmann::ordered_json;

std::string hex_mask(TokenConstraint& constraint, std::size_t vocabulary) {
  std::vector<float> logits(vocabulary, 0);
  constraint.restrict(logits);
  std::string hex;
  for (std::size_t begin = 0; begin < vocabulary; begin += 8) {
    unsigned byte = 0;
    for (std::size_t i = begin; i < std::min(begin + 8, vocabulary); ++i)
      byte |= (logits[i] == 0 ? 1U : 0U) << (i - begin);
    hex += fmt::format("{:02x}", byte);
  }
  return hex;
}

Json masks_of(const TokenList& list, const GrammarRules& rules, const Json& ids) {
  TokenConstraint constraint(list, rules);
  Json masks = Json::array({hex_mask(constraint, list.vocabulary())});
  for (const Json& id : ids) {
    if (!constraint.allows(id.get<std::int32_t>())) break;
    constraint.take(id.get<std::int32_t>());
    masks.push_back(hex_mask(constraint, list.vocabulary()));
  }
  return masks;
}

Json answer_to(const TokenList& list, const Json& asked) {
  try {
    const GrammarRules rules = grammar_of_schema(asked["schema"]);
    Json masks = Json::array();
    for (const Json& ids : asked["texts"]) masks.push_back(masks_of(list, rules, ids));
    return {{"masks", std::move(masks)}};
  } catch (const Error& error) {
    return {{"refused", error.what()}};
  }
}

}  // namespace
}  // namespace nibble::serve

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const nibble::Tokenizer tokenizer = nibble::Tokenizer::from_checkpoint(nibble::Checkpoint::open(argv[1]));
  const nibble::serve::TokenList list(tokenizer, tokenizer.vocab_size());
  for (std::string line; std::getline(std::cin, line);)
    std::cout << nibble::serve::answer_to(list, nlohmann::ordered_json::parse(line)).dump() << "\n";
  return 0;
}
