// SPDX-License-Identifier: Apache-2.0
//
// Runs a parsed template. Faults pass through; line() then says where. One thread.
//
//   Interpreter interpreter(rendering, variables);
//   const std::string text = interpreter.run(program);
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/chat/objects.h"
#include "model/chat/rendering.h"
#include "model/chat/scope.h"
#include "model/chat/syntax.h"

namespace nibble::chat {

class Interpreter {
 public:
  // variables: what the template sees by name. Both outlive the interpreter.
  Interpreter(Rendering& rendering, const Dictionary& variables) : rendering_(rendering), variables_(variables) {}

  std::string run(const Program& program);
  // Of what was being done last.
  int line() const { return line_; }

 private:
  enum class Flow { onward, break_loop, continue_loop };
  using ScopePtr = std::shared_ptr<Scope>;

  // What is written meanwhile is taken aside.
  class Capture;
  // Names are looked up there meanwhile.
  class Inside;
  class Deeper;
  class ItemSource;

  Flow execute(const Statement::Body& body);
  Flow execute(const Statement& statement);
  Flow execute_branches(const Statement& statement);
  Flow execute_loop(const Statement& statement, const Value& items, std::int64_t depth0);
  Flow execute_inside(const Statement::Body& body, const ScopePtr& scope);
  Flow execute_set_block(const Statement& statement);
  void execute_call_block(const Statement& statement);
  Flow execute_filter_block(const Statement& statement);
  Flow execute_with(const Statement& statement);
  void define_macro(const Statement& statement);
  void set_up(Loop& loop, const std::shared_ptr<ItemSource>& source, const Statement& statement, const Value& items);
  void write(std::string_view text);
  void assign(const Expression& target, const Value& value, Scope& scope);
  ScopePtr make_scope(const std::vector<std::string>& masked);
  Value make_macro(const Statement& statement);

  Value evaluate(const Expression& expression);
  Value evaluate_name(const Expression& expression);
  Value evaluate_items(const Expression& expression);
  Value evaluate_dictionary(const Expression& expression);
  Value evaluate_slice(const Expression& expression);
  Value evaluate_conditional(const Expression& expression);
  Value evaluate_compare(const Expression& expression);
  Value evaluate_concatenation(const Expression& expression);
  Value evaluate_call(const Expression& expression, const Value* caller);
  Value apply(const Expression& filter, const Value& value);
  Value apply_all(const Expression& filters, const Value& value);
  Arguments evaluate_arguments(const CallArguments& arguments);
  Value call(const Value& callee, const Arguments& arguments);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  Value call_loop(const Loop& loop, const Arguments& arguments);
  void bind_parameters(const Macro& macro, const Arguments& arguments, Scope& scope);

  Rendering& rendering_;
  const Dictionary& variables_;
  std::map<std::string, Value, std::less<>> functions_;
  ScopePtr scope_;
  std::string* out_ = nullptr;
  std::size_t written_ = 0;  // bytes in all outputs that are open
  std::size_t depth_ = 0;
  int line_ = 1;
};

// What everything that recurses holds. Fault(limit).
class Interpreter::Deeper {
 public:
  explicit Deeper(Interpreter& interpreter);
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;
  ~Deeper() { --depth_; }

 private:
  std::size_t& depth_;
};

class Interpreter::Inside {
 public:
  Inside(Interpreter& interpreter, ScopePtr scope)
      : interpreter_(interpreter), before_(std::exchange(interpreter.scope_, std::move(scope))) {}
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() { interpreter_.scope_ = std::move(before_); }

 private:
  Interpreter& interpreter_;
  ScopePtr before_;
};

class Interpreter::Capture {
 public:
  explicit Capture(Interpreter& interpreter)
      : interpreter_(interpreter), before_(std::exchange(interpreter.out_, &text_)) {}
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() { close(); }
  std::string take() {
    close();
    return std::move(text_);
  }

 private:
  void close() {
    if (!before_) return;
    interpreter_.written_ -= text_.size();
    interpreter_.out_ = std::exchange(before_, nullptr);
  }
  Interpreter& interpreter_;
  std::string text_;
  std::string* before_;
};

}  // namespace nibble::chat
