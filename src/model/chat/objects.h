// SPDX-License-Identifier: Apache-2.0
//
// The values of a template that have an identity: namespaces, loops, macros, functions.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/chat/value.h"

namespace nibble::chat {

struct Statement;
class Scope;

// What a call gives: positional and then named values.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// namespace(): the one thing that a loop can change for what comes after it.
class Namespace : public Object {
 public:
  std::string type_name() const override { return "TemplateNamespace"; }
  const std::vector<std::pair<std::string, Value>>& attributes() const { return attributes_; }
  const Value* find(std::string_view name) const;
  void set(Meter& meter, std::string_view name, const Value& value);

 private:
  std::vector<std::pair<std::string, Value>> attributes_;  // in the order that they came
  std::map<std::string, std::size_t, std::less<>> places_;
};

struct Cycler : Object {
  std::vector<Value> items;
  std::size_t at = 0;
  std::string type_name() const override { return "Cycler"; }
};

struct Joiner : Object {
  std::string separator;
  bool is_used = false;
  std::string type_name() const override { return "Joiner"; }
};

// raise_exception, range and the like: named, and the same for everyone.
struct Function : Object {
  explicit Function(std::string what) : name(std::move(what)) {}
  std::string name;
  std::string type_name() const override { return "function"; }
};

struct Macro : Object {
  const Statement* statement = nullptr;
  std::shared_ptr<Scope> scope;  // where it was written
  std::string name;              // empty: the body of a call block
  std::string type_name() const override { return "Macro"; }
};

// `loop`. Items come one at a time, since what an "if" behind them says may change while the body runs.
struct Loop : Object {
  std::function<std::optional<Value>()> advance;  // the next item that the loop takes
  std::optional<std::size_t> known_length;        // without a filter
  std::vector<Value> drained;                     // items that were taken to count them, last first
  bool is_drained = false;
  std::optional<Value> after;  // the next item, looked at already
  Value before, current;
  std::int64_t index0 = -1;
  std::int64_t depth0 = 0;
  std::optional<std::vector<Value>> last_changed;
  const Statement* statement = nullptr;  // of a recursive loop: what calling it renders
  std::shared_ptr<Scope> scope;
  std::string type_name() const override { return "LoopContext"; }

  std::optional<Value> take();
  bool peek();
  std::int64_t length();
};

}  // namespace nibble::chat
