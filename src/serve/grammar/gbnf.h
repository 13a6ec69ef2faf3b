// SPDX-License-Identifier: Apache-2.0
//
// Grammars as llama.cpp's users write them (GBNF): rules `name ::= alternatives`, of "texts", [classes], names, groups,
// and ?, *, +, {n,m} behind them; '.' is any character, '#' begins a comment, "root" is where a text begins. Pure.
#pragma once

#include <string_view>

#include "serve/grammar/grammar.h"

namespace nibble::serve {

// Error(unusable_input) names line and fault; GrammarRules::judge's.
GrammarRules parse_gbnf(std::string_view text);

}  // namespace nibble::serve
