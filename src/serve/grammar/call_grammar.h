// SPDX-License-Identifier: Apache-2.0
//
// Calls of tools, in the form that a model writes them, as a grammar: only tools that there are, with arguments of
// their schemas. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "model/chat/tool_calls.h"
#include "model/tokenizer/tokenizer.h"
#include "serve/grammar/grammar.h"

namespace nibble::serve {

struct CallableTool {
  std::string name;        // letters, digits, '_', '-' and '.'
  GrammarRules arguments;  // of JSON objects
};

// tools: at least one. Marks that the tokenizer has as control tokens are these tokens.
GrammarRules grammar_of_calls(const ToolCallForm& form, std::span<const CallableTool> tools, bool several_calls,
                              const Tokenizer& tokenizer);

// Texts of either.
GrammarRules either(const GrammarRules& one, const GrammarRules& other);
// The same behind nothing, or behind a new line or two.
GrammarRules behind_new_lines(const GrammarRules& rules);

}  // namespace nibble::serve
