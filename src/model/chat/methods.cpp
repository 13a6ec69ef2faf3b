// SPDX-License-Identifier: Apache-2.0
#include "model/chat/methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/chat/arguments.h"
#include "model/chat/operators.h"
#include "model/chat/text_methods.h"

namespace nibble::chat {
namespace {

template <std::size_t N>
bool has(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 6> kOfDictionary = {"get", "items", "keys", "values", "copy", "fromkeys"};
constexpr std::array<std::string_view, 5> kDictionaryChanges = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::array<std::string_view, 3> kOfList = {"count", "index", "copy"};
constexpr std::array<std::string_view, 8> kListChanges = {"append", "clear", "pop",    "reverse",
                                                          "insert", "sort",  "extend", "remove"};

Value call_on_dictionary(Rendering& rendering, const Method& method, const Arguments& arguments) {
  const Dictionary& dictionary = *method.self.dictionary();
  if (method.name == "get") {
    const Bound bound(arguments, "get", {"key", "default"}, 1);
    rendering.step_key(*bound.get(0));
    if (!key_of(*bound.get(0))) fail_value(fmt::format("a {} is no key of a dict", bound.get(0)->type_name()));
    const Value* found = dictionary.find(*bound.get(0));
    return found ? *found : bound.get(1) ? *bound.get(1) : Value(None{});
  }
  if (method.name == "fromkeys") throw Fault{TemplateError::Cause::unsupported, "fromkeys() is not supported"};
  const Bound bound(arguments, method.name, {});
  if (method.name == "copy") return method.self;
  std::vector<Value> items;
  for (const auto& [key, value] : dictionary.entries) {
    if (method.name == "keys")
      items.push_back(key);
    else if (method.name == "values")
      items.push_back(value);
    else
      items.push_back(rendering.tuple({key, value}));
  }
  return rendering.sequence(std::move(items), method.name == "keys"     ? Sequence::Kind::keys
                                              : method.name == "values" ? Sequence::Kind::values
                                                                        : Sequence::Kind::items);
}

Value call_on_sequence(Rendering& rendering, const Method& method, const Arguments& arguments) {
  const Sequence& sequence = *method.self.sequence();
  if (method.name == "copy") {
    const Bound bound(arguments, "copy", {});
    return method.self;
  }
  const Bound bound(arguments, method.name, {"value"}, 1);
  std::int64_t count = 0;
  for (std::size_t i = 0; i < sequence.items.size(); ++i) {
    if (!equals(rendering, sequence.items[i], *bound.get(0))) continue;
    if (method.name == "index") return Value(static_cast<std::int64_t>(i));
    ++count;
  }
  if (method.name == "index") fail_value("index() found no such item in the list");
  return Value(count);
}

Value call_on_loop(Rendering& rendering, Loop& loop, const Method& method, const Arguments& arguments) {
  if (!arguments.named.empty()) fail_value(fmt::format("loop.{}() takes no names", method.name));
  const std::vector<Value>& values = arguments.positional;
  if (method.name == "cycle") {
    if (values.empty()) fail_value("loop.cycle() needs values");
    return values[static_cast<std::size_t>(loop.index0) % values.size()];
  }
  const bool is_same = loop.last_changed && loop.last_changed->size() == values.size() &&
                       std::equal(values.begin(), values.end(), loop.last_changed->begin(),
                                  [&](const Value& a, const Value& b) { return equals(rendering, a, b); });
  if (!is_same) loop.last_changed = values;
  return Value(!is_same);
}

Value call_on_cycler(Cycler& cycler, const Method& method, const Arguments& arguments) {
  const Bound bound(arguments, method.name, {});
  if (method.name == "reset") {
    cycler.at = 0;
    return Value(None{});
  }
  Value current = cycler.items[cycler.at];
  cycler.at = (cycler.at + 1) % cycler.items.size();
  return current;
}

}  // namespace

MethodUse find_method(const Value& self, std::string_view name) {
  bool is_allowed = false, is_refused = false;
  if (self.text()) {
    is_allowed = is_text_method(name);
  } else if (self.dictionary()) {
    is_allowed = has(kOfDictionary, name);
    is_refused = has(kDictionaryChanges, name);
  } else if (const Sequence* sequence = self.sequence(); sequence && sequence->is_indexed()) {
    const bool is_list = sequence->kind == Sequence::Kind::list;
    is_allowed = has(kOfList, name) && (is_list || name != "copy");
    is_refused = is_list && has(kListChanges, name);
  } else if (self.object_as<Loop>()) {
    is_allowed = name == "cycle" || name == "changed";
  } else if (self.object_as<Cycler>()) {
    is_allowed = name == "next" || name == "reset";
  }
  return is_allowed ? MethodUse::allowed : is_refused ? MethodUse::refused : MethodUse::none;
}

Value call_method(Rendering& rendering, const Method& method, const Arguments& arguments) {
  rendering.step();
  pay_for_texts(rendering, arguments);
  if (method.self.text()) return call_on_text(rendering, method, arguments);
  if (method.self.dictionary()) return call_on_dictionary(rendering, method, arguments);
  if (method.self.sequence()) return call_on_sequence(rendering, method, arguments);
  if (auto* loop = method.self.object_as<Loop>()) return call_on_loop(rendering, *loop, method, arguments);
  return call_on_cycler(*method.self.object_as<Cycler>(), method, arguments);
}

}  // namespace nibble::chat
