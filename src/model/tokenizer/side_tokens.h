// SPDX-License-Identifier: Apache-2.0
//
// Tokens that do not stand in a vocabulary but beside it: added_tokens_decoder of tokenizer_config.json, and
// added_tokens.json. For vocabularies that have no list of their own: SentencePiece models and tiktoken files. Pure
// functions, safe from many threads.
//
//   std::vector<AddedToken> added = read_side_tokens(sides);
//   put_side_tokens(added, tokens, "tokenizer.model");
#pragma once

#include <string>
#include <vector>

#include "model/tokenizer/parts.h"

namespace nibble::tokenizing {

// tokenizer_class of tokenizer_config.json; empty: not named.
std::string class_of(const SideFiles& sides);

std::vector<AddedToken> read_side_tokens(const SideFiles& sides);

// Gives them their places among the tokens. Error(corrupt): a place is another token's, or a text has another place;
// `source` names the file of the tokens.
void put_side_tokens(const std::vector<AddedToken>& added, std::vector<Token>& tokens, const std::string& source);

// Error(corrupt): tokenizer_config.json gives an id to another token than the vocabulary of `source` does.
void require_agreement(const SideFiles& sides, const Vocabulary& vocabulary, const std::string& source);

}  // namespace nibble::tokenizing
