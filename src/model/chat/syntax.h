// SPDX-License-Identifier: Apache-2.0
//
// A parsed template: statements and the expressions in them. Never changes once parsed; safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/chat/value.h"

namespace nibble::chat {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

// What stands in the parentheses of a call, a filter or a test.
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional, more_named;  // *these and **these
};

struct Expression {
  enum class Kind {
    constant,    // value
    name,        // name
    space_name,  // parts[0], a name; the attribute `name` of that namespace: only assigned to
    list,
    tuple,       // parts
    dictionary,  // parts: keys and values by turns
    attribute,   // parts[0] . name
    item,        // parts[0] [ parts[1] ]
    slice,       // parts[0] [ parts[1] : parts[2] : parts[3] ], each but the first may be null
    call,        // parts[0] ( arguments )
    filter,
    test,  // parts[0], null where a block gives it; name, arguments
    positive,
    negative,
    logical_not,  // parts[0]
    logical_and,
    logical_or,   // parts[0], parts[1]
    conditional,  // parts[0] if parts[1] else parts[2], which may be null
    binary,       // parts[0] name parts[1]
    compare,      // parts joined by signs
    concatenate,  // parts
  };
  Kind kind = Kind::constant;
  int line = 1;
  int depth = 1;
  Value value;
  std::string name;
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> signs;  // "==", "in", "not in"
  CallArguments arguments;
};

struct Statement {
  enum class Kind {
    output,        // values
    conditional,   // branches: values[i] decides over bodies[i]; one body more is "else"
    loop,          // for target in values[0] if values[1] (may be null): bodies[0], else bodies[1]; is_recursive
    set,           // target = values[0]
    set_block,     // target = bodies[0] through values[0], a filter, which may be null
    macro,         // name, parameters: bodies[0]
    call_block,    // values[0], a call; parameters: bodies[0]
    filter_block,  // bodies[0] through values[0], a filter
    with,          // targets = values: bodies[0]
    generation,    // bodies[0]: what the model is to have written
    break_loop,
    continue_loop,
  };
  using Body = std::vector<std::unique_ptr<Statement>>;
  Kind kind = Kind::output;
  int line = 1;
  std::string name;
  std::vector<ExpressionPtr> targets, values;
  std::vector<Body> bodies;
  bool is_recursive = false;
  // Of macros and call blocks: names, and expressions for those that have a default, null for others.
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;
  bool takes_caller = false, takes_named = false, takes_positional = false;
  bool uses_loop = false;
  // Names that are undefined where bodies[0] begins, even if the conversation has them: it sets them itself.
  std::vector<std::string> masked, else_masked;
};

struct Program {
  Statement::Body body;
  std::vector<std::string> masked;
};

}  // namespace nibble::chat
