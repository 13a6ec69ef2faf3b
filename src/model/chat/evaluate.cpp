// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "io/message_text.h"
#include "model/chat/filters.h"
#include "model/chat/functions.h"
#include "model/chat/interpreter.h"
#include "model/chat/methods.h"
#include "model/chat/operators.h"
#include "model/chat/printing.h"

namespace nibble::chat {

using Kind = Expression::Kind;

Value Interpreter::evaluate(const Expression& expression) {
  const Deeper deeper(*this);
  rendering_.step();
  line_ = expression.line;
  const auto part = [&](std::size_t i) { return evaluate(*expression.parts[i]); };
  switch (expression.kind) {
    case Kind::constant:
      return expression.value;
    case Kind::name:
      return evaluate_name(expression);
    case Kind::list:
    case Kind::tuple:
      return evaluate_items(expression);
    case Kind::dictionary:
      return evaluate_dictionary(expression);
    case Kind::attribute:
      return get_attribute(rendering_, part(0), expression.name);
    case Kind::item: {
      const Value value = part(0);
      return get_item(rendering_, value, part(1));
    }
    case Kind::slice:
      return evaluate_slice(expression);
    case Kind::call:
      return evaluate_call(expression, nullptr);
    case Kind::filter:
      return apply(expression, part(0));
    case Kind::test: {
      const Value value = part(0);
      const Arguments arguments = evaluate_arguments(expression.arguments);
      return Value(apply_test(rendering_, expression.name, value, arguments));
    }
    case Kind::positive:
    case Kind::negative:
      return negate(part(0), expression.kind == Kind::negative);
    case Kind::logical_not:
      return Value(!is_true(part(0)));
    case Kind::logical_and:
    case Kind::logical_or: {
      Value value = part(0);
      return is_true(value) == (expression.kind == Kind::logical_and) ? part(1) : value;
    }
    case Kind::conditional:
      return evaluate_conditional(expression);
    case Kind::binary: {
      const Value left = part(0), right = part(1);
      line_ = expression.line;
      return calculate(rendering_, expression.name, left, right);
    }
    case Kind::compare:
      return evaluate_compare(expression);
    case Kind::concatenate:
      return evaluate_concatenation(expression);
    case Kind::space_name:
      break;
  }
  fail_value("an attribute of a namespace stands where it cannot");
}

Value Interpreter::evaluate_name(const Expression& expression) {
  rendering_.step(expression.name.size() / 64);
  if (const std::optional<Value>* found = scope_->find(expression.name)) {
    if (*found) return **found;
  } else {
    if (const Value* value = variables_.find(expression.name)) return *value;
    if (const auto known = functions_.find(expression.name); known != functions_.end()) return known->second;
    Value function = find_function(rendering_, expression.name);
    if (!function.is_undefined()) return functions_.emplace(expression.name, std::move(function)).first->second;
  }
  return make_undefined(fmt::format("{} is undefined", quote_name(expression.name)));
}

Value Interpreter::evaluate_items(const Expression& expression) {
  std::vector<Value> items;
  for (const ExpressionPtr& part : expression.parts) items.push_back(evaluate(*part));
  return rendering_.sequence(std::move(items),
                             expression.kind == Kind::list ? Sequence::Kind::list : Sequence::Kind::tuple);
}

Value Interpreter::evaluate_dictionary(const Expression& expression) {
  std::vector<std::pair<Value, Value>> entries;
  for (std::size_t i = 0; i + 1 < expression.parts.size(); i += 2) {
    Value key = evaluate(*expression.parts[i]);
    entries.emplace_back(std::move(key), evaluate(*expression.parts[i + 1]));
  }
  return rendering_.dictionary(std::move(entries));
}

Value Interpreter::evaluate_slice(const Expression& expression) {
  const Value value = evaluate(*expression.parts[0]);
  Value bounds[3] = {Value(None{}), Value(None{}), Value(None{})};
  for (std::size_t i = 0; i < 3; ++i)
    if (expression.parts[i + 1]) bounds[i] = evaluate(*expression.parts[i + 1]);
  line_ = expression.line;
  return get_slice(rendering_, value, bounds[0], bounds[1], bounds[2]);
}

Value Interpreter::evaluate_conditional(const Expression& expression) {
  if (is_true(evaluate(*expression.parts[1]))) return evaluate(*expression.parts[0]);
  if (expression.parts[2]) return evaluate(*expression.parts[2]);
  return make_undefined("an \"if\" without \"else\" had nothing to give");
}

Value Interpreter::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (std::size_t i = 0; i < expression.signs.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    line_ = expression.line;
    if (!compare(rendering_, expression.signs[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_concatenation(const Expression& expression) {
  std::string text;
  for (const ExpressionPtr& part : expression.parts) {
    text += print(rendering_, evaluate(*part));
    rendering_.expect_room(text.size());
  }
  return rendering_.text(std::move(text));
}

Value Interpreter::apply(const Expression& filter, const Value& value) {
  const Arguments arguments = evaluate_arguments(filter.arguments);
  line_ = filter.line;
  return apply_filter(rendering_, filter.name, value, arguments);
}

// The filters of a block stand inside each other, and the first has no value of its own.
Value Interpreter::apply_all(const Expression& filters, const Value& value) {
  return apply(filters, filters.parts[0] ? apply_all(*filters.parts[0], value) : value);
}

Arguments Interpreter::evaluate_arguments(const CallArguments& given) {
  Arguments arguments;
  for (const ExpressionPtr& value : given.positional) arguments.positional.push_back(evaluate(*value));
  for (const auto& [name, value] : given.named) {
    rendering_.step(name.size() / 64);
    arguments.named.emplace_back(name, evaluate(*value));
  }
  if (given.more_positional)
    for (Value& value : iterate(rendering_, evaluate(*given.more_positional)))
      arguments.positional.push_back(std::move(value));
  if (!given.more_named) return arguments;
  const Value more = evaluate(*given.more_named);
  if (!more.dictionary()) fail_value(fmt::format("'**' wants a dict, not {}", more.type_name()));
  for (const auto& [name, value] : arguments.named)
    if (more.dictionary()->find(name)) fail_value(fmt::format("{} is given a second time", quote_name(name)));
  std::size_t names = 0;
  for (const auto& [key, value] : more.dictionary()->entries) {
    if (!key.text()) fail_value("'**' wants texts as keys");
    rendering_.step_text(key.text()->bytes.size());
    rendering_.expect_room(names += key.text()->bytes.size());
    arguments.named.emplace_back(key.text()->bytes, value);
  }
  return arguments;
}

Value Interpreter::evaluate_call(const Expression& expression, const Value* caller) {
  const Value callee = evaluate(*expression.parts[0]);
  Arguments arguments = evaluate_arguments(expression.arguments);
  if (caller) arguments.named.emplace_back("caller", *caller);
  line_ = expression.line;
  return call(callee, arguments);
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  expect_defined(callee);
  if (const Method* method = callee.method()) return call_method(rendering_, *method, arguments);
  if (const auto* macro = callee.object_as<Macro>()) return call_macro(*macro, arguments);
  if (const auto* loop = callee.object_as<Loop>()) return call_loop(*loop, arguments);
  if (!is_callable(callee)) fail_value(fmt::format("a value of type {} cannot be called", callee.type_name()));
  return call_function(rendering_, callee, arguments);
}

Value Interpreter::call_loop(const Loop& loop, const Arguments& arguments) {
  if (!loop.statement) fail_value("only a loop that is marked recursive can be called");
  if (arguments.positional.size() != 1 || !arguments.named.empty()) fail_value("loop() takes the items to loop over");
  const Inside inside(*this, loop.scope);
  Capture capture(*this);
  execute_loop(*loop.statement, arguments.positional[0], loop.depth0 + 1);
  return rendering_.text(capture.take());
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const Deeper deeper(*this);
  const Inside outside(*this, macro.scope);
  const ScopePtr scope = make_scope(macro.statement->masked);
  const Inside inside(*this, scope);
  Capture capture(*this);
  bind_parameters(macro, arguments, *scope);
  execute(macro.statement->bodies[0]);
  return rendering_.text(capture.take());
}

// As Jinja binds them: positional, then named, then defaults, which see the parameters before them. What is left over
// goes to varargs and kwargs where the body asks for these.
void Interpreter::bind_parameters(const Macro& macro, const Arguments& arguments, Scope& scope) {
  const Statement& statement = *macro.statement;
  const auto& parameters = statement.parameters;
  std::map<std::string_view, const Value*> named;
  for (const auto& [name, value] : arguments.named) named.emplace(name, &value);
  const auto take_named = [&](std::string_view name) -> std::optional<Value> {
    const auto place = named.find(name);
    if (place == named.end()) return std::nullopt;
    Value value = *place->second;
    named.erase(place);
    return value;
  };
  std::vector<std::optional<Value>> values;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    values.push_back(i < arguments.positional.size() ? arguments.positional[i] : take_named(parameters[i].first));
  if (statement.takes_caller) {
    const std::optional<Value> caller = take_named("caller");
    scope.set("caller", caller && !caller->is_none() ? *caller : make_undefined("there is no caller"));
  }
  if (!named.empty() && !statement.takes_named)
    fail_value(fmt::format("the macro '{}' has no parameter {} that is not given yet", macro.name,
                           quote_name(named.begin()->first)));
  if (arguments.positional.size() > parameters.size() && !statement.takes_positional)
    fail_value(fmt::format("the macro '{}' takes at most {} values", macro.name, parameters.size()));
  if (statement.takes_named) {
    std::vector<std::pair<Value, Value>> entries;
    for (const auto& [name, value] : arguments.named)
      if (named.contains(name)) entries.emplace_back(rendering_.text(name), value);
    scope.set("kwargs", rendering_.dictionary(std::move(entries)));
  }
  if (statement.takes_positional) {
    const std::size_t used = std::min(parameters.size(), arguments.positional.size());
    scope.set("varargs", rendering_.tuple({arguments.positional.begin() + static_cast<std::ptrdiff_t>(used),
                                           arguments.positional.end()}));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (values[i]) scope.set(parameters[i].first, *values[i]);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (values[i]) continue;
    const auto& [name, otherwise] = parameters[i];
    scope.set(name,
              otherwise ? evaluate(*otherwise) : make_undefined(fmt::format("the parameter '{}' was not given", name)));
  }
}

}  // namespace nibble::chat
