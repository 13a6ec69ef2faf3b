// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "io/message_text.h"
#include "model/chat/methods.h"
#include "model/chat/objects.h"
#include "model/chat/operators.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

Value missing_attribute(const Value& value, std::string_view name) {
  if (value.is_none()) return make_undefined(fmt::format("None has no attribute {}", quote_name(name)));
  return make_undefined(fmt::format("a value of type {} has no attribute {}", value.type_name(), quote_name(name)));
}

Value missing_item(const Value& value, const Value& key) {
  if (key.text()) return missing_attribute(value, key.text()->bytes);
  return make_undefined(fmt::format("a value of type {} has no such element", value.type_name()));
}

std::optional<Value> attribute_of_loop(Loop& loop, std::string_view name) {
  if (name == "index") return Value(loop.index0 + 1);
  if (name == "index0") return Value(loop.index0);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "last") return Value(!loop.peek());
  if (name == "length") return Value(loop.length());
  if (name == "revindex") return Value(loop.length() - loop.index0);
  if (name == "revindex0") return Value(loop.length() - loop.index0 - 1);
  if (name == "depth") return Value(loop.depth0 + 1);
  if (name == "depth0") return Value(loop.depth0);
  if (name == "previtem") return loop.index0 == 0 ? make_undefined("there is no previous item") : loop.before;
  if (name == "nextitem") return loop.peek() ? *loop.after : make_undefined("there is no next item");
  return std::nullopt;
}

// Data of a value, not what can be called.
std::optional<Value> own_attribute(Rendering& rendering, const Value& value, std::string_view name) {
  if (auto* loop = value.object_as<Loop>()) return attribute_of_loop(*loop, name);
  if (auto* space = value.object_as<Namespace>()) {
    if (const Value* found = space->find(name)) return *found;
  }
  if (auto* macro = value.object_as<Macro>(); macro && name == "name") return rendering.text(macro->name);
  if (auto* cycler = value.object_as<Cycler>(); cycler && name == "current") return cycler->items[cycler->at];
  return std::nullopt;
}

// An attribute in Python's sense: not an item.
std::optional<Value> find_attribute(Rendering& rendering, const Value& value, std::string_view name) {
  if (const auto found = own_attribute(rendering, value, name)) return found;
  if (name.starts_with("__") && name.ends_with("__"))
    return make_undefined(fmt::format("the attribute {} is not for templates", quote_name(name)), true);
  switch (find_method(value, name)) {
    case MethodUse::none:
      return std::nullopt;
    case MethodUse::allowed:
      return rendering.method(value, std::string(name));
    case MethodUse::refused:
      break;
  }
  return make_undefined(fmt::format("{}.{}() would change its value, which a template may not; make a new one instead",
                                    value.type_name(), name),
                        true);
}

// What Python's dicts have between "__" and "__"; what they do not have may be an item.
bool is_own_of_dictionary(std::string_view name) {
  static constexpr std::string_view kNames[] = {"class",
                                                "class_getitem",
                                                "contains",
                                                "delattr",
                                                "delitem",
                                                "dir",
                                                "doc",
                                                "eq",
                                                "format",
                                                "ge",
                                                "getattribute",
                                                "getitem",
                                                "getstate",
                                                "gt",
                                                "hash",
                                                "init",
                                                "init_subclass",
                                                "ior",
                                                "iter",
                                                "le",
                                                "len",
                                                "lt",
                                                "ne",
                                                "new",
                                                "or",
                                                "reduce",
                                                "reduce_ex",
                                                "repr",
                                                "reversed",
                                                "ror",
                                                "setattr",
                                                "setitem",
                                                "sizeof",
                                                "str",
                                                "subclasshook"};
  if (name.size() < 4) return false;
  return std::find(std::begin(kNames), std::end(kNames), name.substr(2, name.size() - 4)) != std::end(kNames);
}

std::optional<Value> find_item(Rendering& rendering, const Value& value, const Value& key) {
  if (const Dictionary* dictionary = value.dictionary()) {
    rendering.step_key(key);
    const Value* found = dictionary->find(key);
    return found ? std::optional(*found) : std::nullopt;
  }
  const auto index = key.whole();
  if (!index) return std::nullopt;
  const Text* text = value.text();
  const Sequence* sequence = value.sequence();
  if (!text && (!sequence || !sequence->is_indexed())) return std::nullopt;
  if (text) rendering.step_text(text->bytes.size());
  const std::int64_t length = length_of(value);
  const std::int64_t place = *index < 0 ? *index + length : *index;
  if (place < 0 || place >= length) return std::nullopt;
  const auto at = static_cast<std::size_t>(place);
  if (sequence) return sequence->items[at];
  return rendering.text(std::string(slice_text(text->bytes, at, at + 1)), text->is_safe);
}

}  // namespace

Value get_attribute(Rendering& rendering, const Value& value, std::string_view name) {
  expect_defined(value);
  const Dictionary* dictionary = value.dictionary();
  const Value* item = nullptr;
  if (dictionary) {
    rendering.step_text(name.size());
    item = dictionary->find(name);
  }
  if (item && name.starts_with("__") && !is_own_of_dictionary(name)) return *item;
  if (auto found = find_attribute(rendering, value, name)) return std::move(*found);
  if (item) return *item;
  return missing_attribute(value, name);
}

Value get_item(Rendering& rendering, const Value& value, const Value& key) {
  expect_defined(value);
  if (auto found = find_item(rendering, value, key)) return std::move(*found);
  if (const Text* name = key.text())
    if (auto found = find_attribute(rendering, value, name->bytes)) return std::move(*found);
  return missing_item(value, key);
}

namespace {

struct SliceBounds {
  std::int64_t begin, end, step;
};

std::optional<std::int64_t> bound_of(const Value& value) {
  if (value.is_none()) return std::nullopt;
  expect_defined(value);
  const auto whole = value.whole();
  if (!whole) fail_value(fmt::format("a slice is cut at whole numbers, not at {}", value.type_name()));
  return whole;
}

// As Python's slice.indices().
SliceBounds bounds_of(std::int64_t length, const Value& begin, const Value& end, const Value& step) {
  const std::int64_t stride = bound_of(step).value_or(1);
  if (stride == 0) fail_value("a slice cannot have steps of 0");
  const std::int64_t lowest = stride < 0 ? -1 : 0, highest = stride < 0 ? length - 1 : length;
  const auto settle = [&](const Value& value, std::int64_t otherwise) {
    auto place = bound_of(value);
    if (!place) return otherwise;
    if (*place < 0) return std::max(*place + length, lowest);
    return std::min(*place, highest);
  };
  return {settle(begin, stride < 0 ? highest : lowest), settle(end, stride < 0 ? lowest : highest), stride};
}

std::vector<std::size_t> places_of(const SliceBounds& bounds) {
  std::vector<std::size_t> places;
  for (std::int64_t i = bounds.begin; bounds.step > 0 ? i < bounds.end : i > bounds.end;) {
    places.push_back(static_cast<std::size_t>(i));
    if (__builtin_add_overflow(i, bounds.step, &i)) break;
  }
  return places;
}

}  // namespace

Value get_slice(Rendering& rendering, const Value& value, const Value& begin, const Value& end, const Value& step) {
  expect_defined(value);
  const Text* text = value.text();
  const Sequence* sequence = value.sequence();
  if (!text && (!sequence || !sequence->is_indexed()))
    fail_value(fmt::format("a value of type {} cannot be sliced", value.type_name()));
  if (text) rendering.step_text(text->bytes.size());
  const SliceBounds bounds = bounds_of(length_of(value), begin, end, step);
  if (text && bounds.step == 1)
    return rendering.text(
        std::string(slice_text(text->bytes, static_cast<std::size_t>(std::max<std::int64_t>(bounds.begin, 0)),
                               static_cast<std::size_t>(std::max<std::int64_t>(bounds.end, 0)))),
        text->is_safe);
  rendering.expect_room(text ? text->bytes.size() : sequence->items.size(), sizeof(Value));
  const std::vector<std::size_t> places = places_of(bounds);
  rendering.step(places.size());
  if (text) {
    const std::vector<std::string_view> points = code_points(text->bytes);
    std::string result;
    for (const std::size_t place : places) result += points[place];
    return rendering.text(std::move(result), text->is_safe);
  }
  std::vector<Value> items;
  for (const std::size_t place : places) items.push_back(sequence->items[place]);
  return rendering.sequence(std::move(items), sequence->kind);
}

std::optional<Value> Loop::take() {
  if (after) {
    std::optional<Value> item = std::move(after);
    after.reset();
    return item;
  }
  if (!is_drained) return advance();
  if (drained.empty()) return std::nullopt;
  Value item = std::move(drained.back());
  drained.pop_back();
  return item;
}

bool Loop::peek() {
  if (!after) after = take();
  return after.has_value();
}

std::int64_t Loop::length() {
  if (known_length) return static_cast<std::int64_t>(*known_length);
  std::vector<Value> rest;
  while (auto item = advance()) rest.push_back(std::move(*item));
  known_length = rest.size() + static_cast<std::size_t>(index0 + 1) + (after ? 1 : 0);
  drained.assign(std::make_move_iterator(rest.rbegin()), std::make_move_iterator(rest.rend()));
  is_drained = true;
  return static_cast<std::int64_t>(*known_length);
}

}  // namespace nibble::chat
