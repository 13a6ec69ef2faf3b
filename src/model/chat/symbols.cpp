// SPDX-License-Identifier: Apache-2.0
#include "model/chat/symbols.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "model/chat/lexer.h"

namespace nibble::chat {
namespace {

using Kind = Statement::Kind;
using Visit = std::function<void(const Expression&)>;

void for_each_part(const Expression& expression, const Visit& visit) {
  const auto pass = [&](const ExpressionPtr& part) {
    if (part) visit(*part);
  };
  for (const ExpressionPtr& part : expression.parts) pass(part);
  for (const ExpressionPtr& part : expression.arguments.positional) pass(part);
  for (const auto& [name, part] : expression.arguments.named) pass(part);
  pass(expression.arguments.more_positional);
  pass(expression.arguments.more_named);
}

bool mentions(const Expression& expression, std::string_view name) {
  if (expression.kind == Expression::Kind::name && expression.name == name) return true;
  bool found = false;
  for_each_part(expression, [&](const Expression& part) { found = found || mentions(part, name); });
  return found;
}

bool mentions(const Statement::Body& body, std::string_view name) {
  for (const auto& statement : body) {
    for (const ExpressionPtr& value : statement->values)
      if (value && mentions(*value, name)) return true;
    for (const auto& [parameter, value] : statement->parameters)
      if (value && mentions(*value, name)) return true;
    for (const Statement::Body& inner : statement->bodies)
      if (mentions(inner, name)) return true;
  }
  return false;
}

// How a name of a frame gets its first value.
enum class Origin { parameter, context, outer, nothing };

// How many names may be carried into branches, together: more than any chat template has, less than anybody waits for.
constexpr std::size_t kMaxCarried = 5'000'000;

struct Symbols {
  const Symbols* outer;
  std::size_t* carried;
  std::map<std::string, Origin, std::less<>> origins = {};
  std::set<std::string, std::less<>> stores = {};

  bool knows(const std::string& name) const { return origins.contains(name) || (outer && outer->knows(name)); }

  void load(const std::string& name) {
    if (!knows(name)) origins[name] = Origin::context;
  }

  void store(const std::string& name) {
    stores.insert(name);
    if (!origins.contains(name)) origins[name] = outer && outer->knows(name) ? Origin::outer : Origin::nothing;
  }

  void declare(const std::string& name) {
    stores.insert(name);
    origins[name] = Origin::parameter;
  }

  // What only some branches set has, where none did, the value that it has outside.
  void merge(const std::vector<Symbols>& branches) {
    std::set<std::string> fresh;
    for (const Symbols& branch : branches)
      for (const std::string& name : branch.stores)
        if (!stores.contains(name)) fresh.insert(name);
    for (const Symbols& branch : branches) {
      for (const auto& [name, origin] : branch.origins) origins[name] = origin;
      stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const std::string& name : fresh) origins[name] = outer && outer->knows(name) ? Origin::outer : Origin::context;
  }

  std::vector<std::string> masked() const {
    std::vector<std::string> names;
    for (const auto& [name, origin] : origins)
      if (origin == Origin::nothing) names.push_back(name);
    return names;
  }
};

Symbols inside(const Symbols& outer) { return {.outer = &outer, .carried = outer.carried}; }

void load_names(Symbols& symbols, const Expression& expression) {
  if (expression.kind == Expression::Kind::name) symbols.load(expression.name);
  for_each_part(expression, [&](const Expression& part) { load_names(symbols, part); });
}

void load_names(Symbols& symbols, const ExpressionPtr& expression) {
  if (expression) load_names(symbols, *expression);
}

void store_names(Symbols& symbols, const Expression& target, bool as_parameter) {
  if (target.kind == Expression::Kind::space_name) return load_names(symbols, target);
  for (const ExpressionPtr& part : target.parts) store_names(symbols, *part, as_parameter);
  if (target.kind != Expression::Kind::name) return;
  if (as_parameter)
    symbols.declare(target.name);
  else
    symbols.store(target.name);
}

void look_at(Symbols& symbols, const Statement::Body& body);

// An "elif" is an "if" of a branch of its own.
void look_at_branches(Symbols& symbols, const Statement& statement, std::size_t first) {
  load_names(symbols, statement.values[first]);
  *symbols.carried += 3 * (symbols.origins.size() + symbols.stores.size());
  if (*symbols.carried > kMaxCarried) throw SyntaxFault{statement.line, "the template has too many names and branches"};
  std::vector<Symbols> branches(3, symbols);
  look_at(branches[0], statement.bodies[first]);
  if (first == 0) {
    for (std::size_t i = 1; i < statement.values.size(); ++i) look_at_branches(branches[1], statement, i);
    if (statement.bodies.size() > statement.values.size()) look_at(branches[2], statement.bodies.back());
  }
  symbols.merge(branches);
}

void look_at(Symbols& symbols, const Statement& statement) {
  switch (statement.kind) {
    case Kind::conditional:
      return look_at_branches(symbols, statement, 0);
    case Kind::macro:
      return symbols.store(statement.name);
    case Kind::loop:
      return load_names(symbols, statement.values[0]);
    case Kind::set:
    case Kind::set_block:
      for (const ExpressionPtr& value : statement.values) load_names(symbols, value);
      return store_names(symbols, *statement.targets[0], false);
    default:
      for (const ExpressionPtr& value : statement.values) load_names(symbols, value);
  }
}

void look_at(Symbols& symbols, const Statement::Body& body) {
  for (const auto& statement : body) look_at(symbols, *statement);
}

void judge_frames(const Symbols& symbols, Statement::Body& body);

std::vector<std::string> judge_frame(Symbols& frame, Statement::Body& body) {
  look_at(frame, body);
  judge_frames(frame, body);
  return frame.masked();
}

void judge_loop(const Symbols& symbols, Statement& loop) {
  if (mentions(*loop.targets[0], "loop")) throw SyntaxFault{loop.line, "a loop's variable cannot be named 'loop'"};
  loop.uses_loop = loop.is_recursive || mentions(loop.bodies[0], "loop");
  Symbols frame = inside(symbols);
  if (loop.uses_loop) frame.declare("loop");
  store_names(frame, *loop.targets[0], true);
  loop.masked = judge_frame(frame, loop.bodies[0]);
  if (loop.bodies.size() < 2) return;
  Symbols otherwise = inside(symbols);
  loop.else_masked = judge_frame(otherwise, loop.bodies[1]);
}

void judge_function(const Symbols& symbols, Statement& function) {
  const auto has_parameter = [&](std::string_view name) {
    for (const auto& [parameter, value] : function.parameters)
      if (parameter == name) return true;
    return false;
  };
  Symbols frame = inside(symbols);
  for (const auto& [name, value] : function.parameters) frame.declare(name);
  for (const auto& [name, value] : function.parameters) load_names(frame, value);
  const auto takes = [&](std::string_view name) {
    const bool is_special = !has_parameter(name) && mentions(function.bodies[0], name);
    if (is_special) frame.declare(std::string(name));
    return is_special;
  };
  function.takes_caller = takes("caller");
  function.takes_named = takes("kwargs");
  function.takes_positional = takes("varargs");
  function.masked = judge_frame(frame, function.bodies[0]);
}

void judge_frames(const Symbols& symbols, Statement& statement) {
  switch (statement.kind) {
    case Kind::conditional:
      for (Statement::Body& body : statement.bodies) judge_frames(symbols, body);
      return;
    case Kind::loop:
      return judge_loop(symbols, statement);
    case Kind::macro:
    case Kind::call_block:
    case Kind::generation:
      return judge_function(symbols, statement);
    case Kind::set_block:
    case Kind::filter_block:
    case Kind::with: {
      Symbols frame = inside(symbols);
      if (statement.kind == Kind::with)
        for (const ExpressionPtr& target : statement.targets) store_names(frame, *target, true);
      statement.masked = judge_frame(frame, statement.bodies[0]);
      return;
    }
    default:
      return;
  }
}

void judge_frames(const Symbols& symbols, Statement::Body& body) {
  for (auto& statement : body) judge_frames(symbols, *statement);
}

}  // namespace

void find_masked(Program& program) {
  std::size_t carried = 0;
  Symbols root{.outer = nullptr, .carried = &carried};
  program.masked = judge_frame(root, program.body);
}

}  // namespace nibble::chat
