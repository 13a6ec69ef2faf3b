// SPDX-License-Identifier: Apache-2.0
//
// A template's text as tokens, by Jinja's rules with trim_blocks and lstrip_blocks: the newline behind a block or
// comment goes, and so does white space between a line's begin and a block or comment; "-" strips all white space on
// its side, "+" none. Safe from any thread.
//
//   for (const Token& token : tokenize("{{ name }}")) ...
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nibble::chat {

struct Token {
  enum class Type {
    data,
    block_begin,
    block_end,
    variable_begin,
    variable_end,
    name,
    string,
    integer,
    real,
    sign,
    end
  };
  Type type = Type::end;
  int line = 1;
  std::string text;  // of a string without quotes and escapes, of a sign itself
};

// Ends with a token of type end. A fault of a template has a line of its own.
struct SyntaxFault {
  int line;
  std::string message;
  bool is_unsupported = false;
};

// Throws a SyntaxFault.
std::vector<Token> tokenize(std::string_view source);

}  // namespace nibble::chat
