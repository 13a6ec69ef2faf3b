// SPDX-License-Identifier: Apache-2.0
#include "model/chat/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/chat/format_text.h"
#include "model/chat/printing.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

[[noreturn]] void fail_types(std::string_view sign, const Value& a, const Value& b) {
  fail_value(fmt::format("'{}' does not take {} and {}", sign, a.type_name(), b.type_name()));
}

[[noreturn]] void fail_size() {
  throw Fault{TemplateError::Cause::unsupported, "a whole number needs more than 64 bits"};
}

std::int64_t divide_down(std::int64_t a, std::int64_t b) {
  if (b == -1) {
    std::int64_t result = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &result)) fail_size();
    return result;
  }
  const std::int64_t quotient = a / b;
  return quotient * b != a && ((a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

// Both have the sign of b, as Python's have.
double remainder_of(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

// (a - remainder) / b is a whole number but for its rounding.
double divide_down(double a, double b) {
  const double rest = std::fmod(a, b);
  const double quotient = (a - rest) / b - (rest != 0 && (rest < 0) != (b < 0) ? 1 : 0);
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double below = std::floor(quotient);
  return quotient - below > 0.5 ? below + 1 : below;
}

Value power_of(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail_value("0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) fail_size();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_size();
  }
  return Value(result);
}

Value calculate_whole(std::string_view sign, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflows = false;
  if (sign == "+") {
    overflows = __builtin_add_overflow(a, b, &result);
  } else if (sign == "-") {
    overflows = __builtin_sub_overflow(a, b, &result);
  } else if (sign == "*") {
    overflows = __builtin_mul_overflow(a, b, &result);
  } else if (sign == "**") {
    return power_of(a, b);
  } else {
    if (b == 0) fail_value("division by zero");
    if (sign == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    if (sign == "//") return Value(divide_down(a, b));
    return Value(b == -1 ? std::int64_t{0} : a - divide_down(a, b) * b);
  }
  if (overflows) fail_size();
  return Value(result);
}

Value calculate_real(std::string_view sign, double a, double b) {
  if (sign == "+") return Value(a + b);
  if (sign == "-") return Value(a - b);
  if (sign == "*") return Value(a * b);
  if (sign == "**") {
    const double power = std::pow(a, b);
    if (std::isnan(power) && !std::isnan(a) && !std::isnan(b)) fail_value("the power is no real number");
    return Value(power);
  }
  if (b == 0) fail_value("division by zero");
  if (sign == "/") return Value(a / b);
  if (sign == "//") return Value(divide_down(a, b));
  return Value(remainder_of(a, b));
}

// One of two texts that is marked safe has the other escaped.
Value join_texts(Rendering& rendering, const Text& a, const Text& b) {
  rendering.expect_room(a.bytes.size() + b.bytes.size());
  if (a.is_safe == b.is_safe) return rendering.text(a.bytes + b.bytes, a.is_safe);
  return rendering.text((a.is_safe ? a.bytes : escape_html(a.bytes)) + (b.is_safe ? b.bytes : escape_html(b.bytes)),
                        true);
}

Value join_sequences(Rendering& rendering, const Sequence& a, const Sequence& b) {
  rendering.expect_room(a.items.size() + b.items.size(), sizeof(Value));
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return rendering.sequence(std::move(items), a.kind);
}

Value repeat(Rendering& rendering, const Value& value, std::int64_t count) {
  const std::size_t times = count > 0 ? static_cast<std::size_t>(count) : 0;
  if (const Text* text = value.text()) {
    if (!text->bytes.empty()) rendering.expect_room(times, text->bytes.size());
    std::string result;
    for (std::size_t i = 0; i < times && !text->bytes.empty(); ++i) result += text->bytes;
    return rendering.text(std::move(result), text->is_safe);
  }
  const Sequence& sequence = *value.sequence();
  if (!sequence.items.empty()) rendering.expect_room(times, sequence.items.size() * sizeof(Value));
  std::vector<Value> items;
  for (std::size_t i = 0; i < times && !sequence.items.empty(); ++i) {
    rendering.step(sequence.items.size());
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return rendering.sequence(std::move(items), sequence.kind);
}

bool is_repeatable(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.text() ||
         (sequence && (sequence->kind == Sequence::Kind::list || sequence->kind == Sequence::Kind::tuple));
}

}  // namespace

Value make_undefined(std::string message, bool is_refused) {
  return Value(Value::Held(std::make_shared<const Absence>(Absence{std::move(message), is_refused})));
}

void expect_defined(const Value& value) {
  if (!value.is_undefined()) return;
  const Absence* absence = value.absence();
  const bool is_refused = absence && absence->is_refused;
  throw Fault{is_refused ? TemplateError::Cause::refused : TemplateError::Cause::undefined,
              absence ? absence->message : "a value is undefined"};
}

Value calculate(Rendering& rendering, std::string_view sign, const Value& a, const Value& b) {
  if (sign == "%" && a.text()) return rendering.text(format_percent(rendering, a.text()->bytes, b), a.text()->is_safe);
  expect_defined(a);
  expect_defined(b);
  const auto left = a.whole(), right = b.whole();
  if (left && right) return calculate_whole(sign, *left, *right);
  const auto left_real = a.number(), right_real = b.number();
  if (left_real && right_real) return calculate_real(sign, *left_real, *right_real);
  if (sign == "+" && a.text() && b.text()) return join_texts(rendering, *a.text(), *b.text());
  if (sign == "+" && is_repeatable(a) && is_repeatable(b) && a.sequence() && b.sequence() &&
      a.sequence()->kind == b.sequence()->kind)
    return join_sequences(rendering, *a.sequence(), *b.sequence());
  if (sign == "*" && is_repeatable(a) && right) return repeat(rendering, a, *right);
  if (sign == "*" && left && is_repeatable(b)) return repeat(rendering, b, *left);
  fail_types(sign, a, b);
}

Value negate(const Value& value, bool is_minus) {
  expect_defined(value);
  if (const auto whole = value.whole()) return is_minus ? calculate_whole("-", 0, *whole) : Value(*whole);
  if (const double* real = value.real()) return Value(is_minus ? -*real : *real);
  fail_value(fmt::format("'{}' does not take {}", is_minus ? "-" : "+", value.type_name()));
}

bool contains(Rendering& rendering, const Value& container, const Value& value) {
  if (const Text* text = container.text()) {
    if (!value.text()) fail_value(fmt::format("'in' a text looks for a text, not {}", value.type_name()));
    rendering.step_text(text->bytes.size() + value.text()->bytes.size());
    expect_search(rendering, value.text()->bytes);
    return find_text(text->bytes, value.text()->bytes) != std::string::npos;
  }
  if (const Dictionary* dictionary = container.dictionary()) {
    rendering.step_key(value);
    if (!key_of(value)) fail_value(fmt::format("a {} is no key of a dict", value.type_name()));
    return dictionary->find(value) != nullptr;
  }
  for (const Value& item : iterate(rendering, container))
    if (equals(rendering, item, value)) return true;
  return false;
}

bool is_less(Rendering& rendering, const Value& a, const Value& b) {
  rendering.step();
  expect_defined(a);
  expect_defined(b);
  if (const auto left = a.whole(), right = b.whole(); left && right) return *left < *right;
  if (const auto left = a.number(), right = b.number(); left && right) return *left < *right;
  if (a.text() && b.text()) {
    rendering.step_text(std::min(a.text()->bytes.size(), b.text()->bytes.size()));
    return a.text()->bytes < b.text()->bytes;
  }
  const Sequence* left = a.sequence();
  const Sequence* right = b.sequence();
  if (!left || !right || left->kind != right->kind || !is_repeatable(a)) fail_types("<", a, b);
  for (std::size_t i = 0; i < std::min(left->items.size(), right->items.size()); ++i)
    if (!equals(rendering, left->items[i], right->items[i])) return is_less(rendering, left->items[i], right->items[i]);
  return left->items.size() < right->items.size();
}

namespace {

// Neither of two numbers is less where one is NaN, and they are not equal either.
bool is_unordered(const Value& a, const Value& b) {
  const auto left = a.number(), right = b.number();
  return left && right && (std::isnan(*left) || std::isnan(*right));
}

}  // namespace

bool compare(Rendering& rendering, std::string_view sign, const Value& a, const Value& b) {
  if (sign == "==") return equals(rendering, a, b);
  if (sign == "!=") return !equals(rendering, a, b);
  if (sign == "in") return contains(rendering, b, a);
  if (sign == "not in") return !contains(rendering, b, a);
  if (is_unordered(a, b)) return false;
  if (sign == "<") return is_less(rendering, a, b);
  if (sign == ">") return is_less(rendering, b, a);
  return sign == "<=" ? !is_less(rendering, b, a) : !is_less(rendering, a, b);
}

std::vector<Value> iterate(Rendering& rendering, const Value& value) {
  if (const Sequence* sequence = value.sequence()) {
    if (sequence->kind == Sequence::Kind::iterator && std::exchange(sequence->is_spent, true)) return {};
    rendering.step(sequence->items.size());
    return sequence->items;
  }
  std::vector<Value> items;
  if (value.is_undefined()) {
    if (value.absence() && value.absence()->is_refused) expect_defined(value);
    return items;
  }
  if (const Dictionary* dictionary = value.dictionary()) {
    rendering.step(dictionary->entries.size());
    for (const auto& [key, item] : dictionary->entries) items.push_back(key);
    return items;
  }
  const Text* text = value.text();
  if (!text) fail_value(fmt::format("a value of type {} cannot be walked", value.type_name()));
  rendering.expect_room(text->bytes.size(), sizeof(Value));
  for (const std::string_view point : code_points(text->bytes)) items.push_back(rendering.text(std::string(point)));
  return items;
}

std::int64_t length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const Text* text = value.text()) return static_cast<std::int64_t>(count_code_points(text->bytes));
  if (const Dictionary* dictionary = value.dictionary()) return static_cast<std::int64_t>(dictionary->entries.size());
  const Sequence* sequence = value.sequence();
  if (!sequence || !sequence->has_length())
    fail_value(fmt::format("a value of type {} has no length", value.type_name()));
  return static_cast<std::int64_t>(sequence->items.size());
}

}  // namespace nibble::chat
