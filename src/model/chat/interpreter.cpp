// SPDX-License-Identifier: Apache-2.0
#include "model/chat/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/chat/filters.h"
#include "model/chat/operators.h"
#include "model/chat/printing.h"

namespace nibble::chat {

using Kind = Statement::Kind;

// The items that a loop takes, one at a time: those that its "if" lets pass when it comes to them.
class Interpreter::ItemSource : Counted {
 public:
  ItemSource(Interpreter& interpreter, const Statement& loop, std::vector<Value> items)
      : Counted(&interpreter.rendering_.meter(), items.size() * sizeof(Value), 1),
        interpreter_(interpreter),
        loop_(loop),
        scope_(interpreter.scope_),
        items_(std::move(items)) {}

  std::optional<Value> next() {
    while (at_ < items_.size()) {
      interpreter_.rendering_.step();
      const Value& item = items_[at_++];
      if (passes(item)) return item;
    }
    return std::nullopt;
  }

 private:
  bool passes(const Value& item) {
    const ExpressionPtr& test = loop_.values[1];
    if (!test) return true;
    const auto scope = std::make_shared<Scope>(scope_);
    const Inside inside(interpreter_, scope);
    interpreter_.assign(*loop_.targets[0], item, *scope);
    return is_true(interpreter_.evaluate(*test));
  }

  Interpreter& interpreter_;
  const Statement& loop_;
  ScopePtr scope_;
  std::vector<Value> items_;
  std::size_t at_ = 0;
};

Interpreter::Deeper::Deeper(Interpreter& interpreter) : depth_(interpreter.depth_) {
  const std::size_t most = interpreter.rendering_.limits().depth;
  if (depth_ >= most)
    throw Fault{TemplateError::Cause::limit, fmt::format("the template runs deeper than {} levels", most)};
  ++depth_;
}

std::string Interpreter::run(const Program& program) {
  std::string text;
  out_ = &text;
  scope_ = make_scope(program.masked);
  execute(program.body);
  return text;
}

void Interpreter::write(std::string_view text) {
  if (text.size() > rendering_.limits().output_bytes - written_)
    throw Fault{TemplateError::Cause::limit,
                fmt::format("the template writes more than {} bytes", rendering_.limits().output_bytes)};
  written_ += text.size();
  rendering_.step_text(text.size());
  out_->append(text);
}

Interpreter::ScopePtr Interpreter::make_scope(const std::vector<std::string>& masked) {
  rendering_.step(1 + masked.size());
  auto scope = std::make_shared<Scope>(scope_);
  scope->mask(masked);
  return scope;
}

Interpreter::Flow Interpreter::execute(const Statement::Body& body) {
  for (const auto& statement : body)
    if (const Flow flow = execute(*statement); flow != Flow::onward) return flow;
  return Flow::onward;
}

Interpreter::Flow Interpreter::execute_inside(const Statement::Body& body, const ScopePtr& scope) {
  const Inside inside(*this, scope);
  return execute(body);
}

Interpreter::Flow Interpreter::execute(const Statement& statement) {
  const Deeper deeper(*this);
  rendering_.step();
  line_ = statement.line;
  switch (statement.kind) {
    case Kind::output:
      for (const ExpressionPtr& value : statement.values) write(print(rendering_, evaluate(*value)));
      break;
    case Kind::conditional:
      return execute_branches(statement);
    case Kind::loop:
      return execute_loop(statement, evaluate(*statement.values[0]), 0);
    case Kind::set:
      assign(*statement.targets[0], evaluate(*statement.values[0]), *scope_);
      break;
    case Kind::set_block:
      return execute_set_block(statement);
    case Kind::macro:
      scope_->set(statement.name, make_macro(statement));
      break;
    case Kind::call_block:
      execute_call_block(statement);
      break;
    case Kind::filter_block:
      return execute_filter_block(statement);
    case Kind::with:
      return execute_with(statement);
    case Kind::generation:
      return execute_inside(statement.bodies[0], make_scope(statement.masked));
    case Kind::break_loop:
      return Flow::break_loop;
    case Kind::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::onward;
}

Interpreter::Flow Interpreter::execute_branches(const Statement& statement) {
  for (std::size_t i = 0; i < statement.values.size(); ++i)
    if (is_true(evaluate(*statement.values[i]))) return execute(statement.bodies[i]);
  if (statement.bodies.size() > statement.values.size()) return execute(statement.bodies.back());
  return Flow::onward;
}

void Interpreter::set_up(Loop& loop, const std::shared_ptr<ItemSource>& source, const Statement& statement,
                         const Value& items) {
  loop.advance = [source] { return source->next(); };
  const bool has_length = !items.sequence() || items.sequence()->has_length();
  if (!statement.values[1] && has_length) loop.known_length = static_cast<std::size_t>(length_of(items));
  if (statement.is_recursive) {
    loop.statement = &statement;
    loop.scope = scope_;
  }
}

Interpreter::Flow Interpreter::execute_loop(const Statement& statement, const Value& items, std::int64_t depth0) {
  Loop* loop = statement.uses_loop ? rendering_.make<Loop>() : nullptr;
  const auto source = std::make_shared<ItemSource>(*this, statement, iterate(rendering_, items));
  if (loop) {
    loop->depth0 = depth0;
    set_up(*loop, source, statement, items);
  }
  bool has_run = false;
  while (std::optional<Value> item = loop ? loop->take() : source->next()) {
    has_run = true;
    const ScopePtr scope = make_scope(statement.masked);
    if (loop) {
      ++loop->index0;
      loop->before = std::exchange(loop->current, *item);
      scope->set("loop", Value(static_cast<Object*>(loop)));
    }
    line_ = statement.line;
    assign(*statement.targets[0], *item, *scope);
    if (execute_inside(statement.bodies[0], scope) == Flow::break_loop) break;
  }
  if (has_run || statement.bodies.size() < 2) return Flow::onward;
  return execute_inside(statement.bodies[1], make_scope(statement.else_masked));
}

Interpreter::Flow Interpreter::execute_set_block(const Statement& statement) {
  Capture capture(*this);
  const Flow flow = execute_inside(statement.bodies[0], make_scope(statement.masked));
  Value value = rendering_.text(capture.take());
  if (flow != Flow::onward) return flow;
  if (statement.values[0]) value = apply_all(*statement.values[0], value);
  assign(*statement.targets[0], value, *scope_);
  return flow;
}

Interpreter::Flow Interpreter::execute_filter_block(const Statement& statement) {
  Capture capture(*this);
  const Flow flow = execute_inside(statement.bodies[0], make_scope(statement.masked));
  const Value text = rendering_.text(capture.take());
  if (flow == Flow::onward) write(print(rendering_, apply_all(*statement.values[0], text)));
  return flow;
}

void Interpreter::execute_call_block(const Statement& statement) {
  const Value caller = make_macro(statement);
  write(print(rendering_, evaluate_call(*statement.values[0], &caller)));
}

Interpreter::Flow Interpreter::execute_with(const Statement& statement) {
  std::vector<Value> values;
  for (const ExpressionPtr& value : statement.values) values.push_back(evaluate(*value));
  const ScopePtr scope = make_scope(statement.masked);
  for (std::size_t i = 0; i < values.size(); ++i) assign(*statement.targets[i], values[i], *scope);
  return execute_inside(statement.bodies[0], scope);
}

Value Interpreter::make_macro(const Statement& statement) {
  auto* macro = rendering_.make<Macro>();
  macro->statement = &statement;
  macro->scope = scope_;
  macro->name = statement.name;
  return Value(static_cast<Object*>(macro));
}

void Interpreter::assign(const Expression& target, const Value& value, Scope& scope) {
  if (target.kind == Expression::Kind::name) return scope.set(target.name, value);
  if (target.kind == Expression::Kind::space_name) {
    auto* space = evaluate(*target.parts[0]).object_as<Namespace>();
    if (!space)
      fail_value(fmt::format("only a namespace's attributes can be set, not those of '{}'", target.parts[0]->name));
    if (target.name.starts_with('_'))
      throw Fault{TemplateError::Cause::refused, "a namespace's attributes do not begin with '_'"};
    return space->set(rendering_.meter(), target.name, value);
  }
  expect_defined(value);
  const std::vector<Value> items = iterate(rendering_, value);
  if (items.size() != target.parts.size())
    fail_value(fmt::format("{} values are not as many as {} names", items.size(), target.parts.size()));
  for (std::size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], scope);
}

}  // namespace nibble::chat
