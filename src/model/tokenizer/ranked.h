// SPDX-License-Identifier: Apache-2.0
//
// Vocabularies whose tokens are byte sequences in the order of their making, which is also the order of merging: the
// files of tiktoken ("base64 rank" a line) and of mistral-common (tekken.json). Byte-level BPE in which every two
// neighbours that make a token merge, and a word that is a token is taken as it is. Pure functions, safe from many
// threads.
//
//   if (is_tiktoken(text)) parts = read_tiktoken(text, sides, "tiktoken.model");
#pragma once

#include <string>
#include <string_view>

#include "model/tokenizer/parts.h"

namespace nibble::tokenizing {

// Whether a text begins as tiktoken's files do.
bool is_tiktoken(std::string_view text);

// The split rule and the control tokens do not stand in the file: they are known by the class that
// tokenizer_config.json names, or by the number of ranks. Error(unsupported): neither is known.
TokenizerParts read_tiktoken(std::string_view text, const SideFiles& sides, const std::string& source);

TokenizerParts read_tekken(std::string_view json, const SideFiles& sides, const std::string& source);

}  // namespace nibble::tokenizing
