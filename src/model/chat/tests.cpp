// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "io/message_text.h"
#include "model/chat/arguments.h"
#include "model/chat/filters.h"
#include "model/chat/functions.h"
#include "model/chat/methods.h"
#include "model/chat/operators.h"
#include "model/chat/printing.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

bool is_sequence(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.is_undefined() || value.text() || value.dictionary() || (sequence && sequence->is_indexed());
}

std::int64_t whole_of(const Value& value, std::string_view test) {
  expect_defined(value);
  const auto whole = value.whole();
  if (!whole) fail_value(fmt::format("'{}' asks whole numbers, not {}", test, value.type_name()));
  return *whole;
}

bool divides(const Value& value, const Value& by) {
  const std::int64_t divisor = whole_of(by, "divisibleby");
  if (divisor == 0) fail_value("division by zero");
  return divisor == -1 || whole_of(value, "divisibleby") % divisor == 0;
}

// The very same thing: of texts and numbers, what Python would not make a second time.
bool is_same(const Value& a, const Value& b) {
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.boolean() || b.boolean()) return a.boolean() && b.boolean() && *a.boolean() == *b.boolean();
  if (a.integer() && b.integer()) return *a.integer() == *b.integer();
  if (a.text() && b.text()) return a.text()->bytes == b.text()->bytes;
  if (a.sequence()) return a.sequence() == b.sequence();
  if (a.dictionary()) return a.dictionary() == b.dictionary();
  return a.object() && a.object() == b.object();
}

struct Asked {
  Rendering& rendering;
  const Value& value;
};

// Tests of the value alone.
std::optional<bool> test_alone(std::string_view name, const Asked& asked) {
  const Value& value = asked.value;
  if (name == "defined") return !value.is_undefined();
  if (name == "undefined") return value.is_undefined();
  if (name == "none") return value.is_none();
  if (name == "boolean") return value.boolean() != nullptr;
  if (name == "true") return value.boolean() && *value.boolean();
  if (name == "false") return value.boolean() && !*value.boolean();
  if (name == "integer") return value.integer() != nullptr;
  if (name == "float") return value.real() != nullptr;
  if (name == "number") return value.is_number();
  if (name == "string") return value.text() != nullptr;
  if (name == "mapping") return value.dictionary() != nullptr;
  if (name == "iterable") return is_sequence(value) || value.sequence() || value.object_as<Loop>();
  if (name == "sequence") return is_sequence(value);
  if (name == "callable") return value.method() || is_callable(value);
  if (name == "escaped") return value.text() && value.text()->is_safe;
  if (name == "odd") return whole_of(value, name) % 2 != 0;
  if (name == "even") return whole_of(value, name) % 2 == 0;
  if (name == "lower") return consists_of(print(asked.rendering, value), Letters::lower);
  if (name == "upper") return consists_of(print(asked.rendering, value), Letters::upper);
  if (name == "filter" || name == "test") {
    const Text* text = value.text();
    return text && (name == "filter" ? find_filter(text->bytes) != nullptr : find_test(text->bytes) != nullptr);
  }
  return std::nullopt;
}

constexpr std::string_view kAlone[] = {"defined", "undefined", "none",   "boolean", "true",     "false",    "integer",
                                       "float",   "number",    "string", "mapping", "iterable", "sequence", "callable",
                                       "escaped", "odd",       "even",   "lower",   "upper",    "filter",   "test"};

template <std::size_t N>
bool run_alone(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, kAlone[N], {});
  return *test_alone(kAlone[N], {rendering, value});
}

template <std::size_t... N>
Test find_alone(std::string_view name, std::index_sequence<N...>) {
  Test found = nullptr;
  ((kAlone[N] == name ? void(found = run_alone<N>) : void()), ...);
  return found;
}

struct Sign {
  std::string_view name, sign;
};

constexpr Sign kSigns[] = {{"eq", "=="},         {"equalto", "=="}, {"==", "=="},      {"ne", "!="},
                           {"!=", "!="},         {"lt", "<"},       {"lessthan", "<"}, {"<", "<"},
                           {"le", "<="},         {"<=", "<="},      {"gt", ">"},       {">", ">"},
                           {"greaterthan", ">"}, {"ge", ">="},      {">=", ">="},      {"in", "in"}};

template <std::size_t N>
bool run_sign(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, kSigns[N].name, {"other"}, 1);
  return compare(rendering, kSigns[N].sign, value, *bound.get(0));
}

template <std::size_t... N>
Test find_sign(std::string_view name, std::index_sequence<N...>) {
  Test found = nullptr;
  ((kSigns[N].name == name ? void(found = run_sign<N>) : void()), ...);
  return found;
}

bool run_divides(Rendering&, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "divisibleby", {"num"}, 1);
  return divides(value, *bound.get(0));
}

bool run_same(Rendering&, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "sameas", {"other"}, 1);
  return is_same(value, *bound.get(0));
}

}  // namespace

Test find_test(std::string_view name) {
  if (name == "divisibleby") return run_divides;
  if (name == "sameas") return run_same;
  if (const Test test = find_alone(name, std::make_index_sequence<std::size(kAlone)>{})) return test;
  return find_sign(name, std::make_index_sequence<std::size(kSigns)>{});
}

bool apply_test(Rendering& rendering, std::string_view name, const Value& value, const Arguments& arguments) {
  rendering.step();
  const Test test = find_test(name);
  if (!test) throw Fault{TemplateError::Cause::unsupported, fmt::format("no test is named {}", quote_name(name))};
  pay_for_texts(rendering, arguments);
  return test(rendering, value, arguments);
}

}  // namespace nibble::chat
