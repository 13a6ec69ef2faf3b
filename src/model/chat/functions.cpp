// SPDX-License-Identifier: Apache-2.0
#include "model/chat/functions.h"

#include <fmt/format.h>

#include <array>

#include "base/utf8.h"
#include "model/chat/arguments.h"
#include "model/chat/operators.h"
#include "model/chat/printing.h"

namespace nibble::chat {
namespace {

constexpr std::int64_t kMaxRange = 100'000;  // Jinja's sandbox has the same
constexpr std::size_t kMaxTimeFormat = 200;

Value make_range(Rendering& rendering, const Arguments& arguments) {
  if (!arguments.named.empty() || arguments.positional.empty() || arguments.positional.size() > 3)
    fail_value("range takes one to three whole numbers");
  std::int64_t bounds[3] = {0, 0, 1};
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    const Value& value = arguments.positional[i];
    expect_defined(value);
    if (!value.whole()) fail_value(fmt::format("range takes whole numbers, not {}", value.type_name()));
    bounds[arguments.positional.size() == 1 ? 1 : i] = *value.whole();
  }
  const auto [begin, end, step] = bounds;
  if (step == 0) fail_value("range cannot have steps of 0");
  std::vector<Value> items;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (static_cast<std::int64_t>(items.size()) == kMaxRange)
      throw Fault{TemplateError::Cause::limit, fmt::format("a range has more than {} numbers", kMaxRange)};
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return rendering.sequence(std::move(items), Sequence::Kind::range);
}

// What dict() and namespace() are made of: a dict or pairs, then names.
std::vector<std::pair<Value, Value>> entries_of(Rendering& rendering, const Arguments& arguments,
                                                std::string_view who) {
  if (arguments.positional.size() > 1) fail_value(fmt::format("{} takes at most one value without a name", who));
  std::vector<std::pair<Value, Value>> entries;
  if (!arguments.positional.empty()) {
    const Value& value = arguments.positional[0];
    if (const Dictionary* dictionary = value.dictionary()) {
      entries = dictionary->entries;
    } else {
      for (const Value& pair : iterate(rendering, value)) {
        const std::vector<Value> both = iterate(rendering, pair);
        if (both.size() != 2) fail_value(fmt::format("{} wants pairs, not {} values", who, both.size()));
        entries.emplace_back(both[0], both[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) entries.emplace_back(rendering.text(name), value);
  return entries;
}

Value make_namespace(Rendering& rendering, const Arguments& arguments) {
  auto* space = rendering.make<Namespace>();
  const Value unique_entries = rendering.dictionary(entries_of(rendering, arguments, "namespace"));
  for (const auto& [key, value] : unique_entries.dictionary()->entries) {
    if (!key.text()) fail_value("a namespace's attributes have texts as names");
    if (key.text()->bytes.starts_with('_'))
      throw Fault{TemplateError::Cause::refused, "a namespace's attributes do not begin with '_'"};
    space->set(rendering.meter(), key.text()->bytes, value);
  }
  return Value(static_cast<Object*>(space));
}

Value make_cycler(Rendering& rendering, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.named.empty()) fail_value("cycler takes values without names");
  rendering.meter().hold(arguments.positional.size() * sizeof(Value));
  auto* cycler = rendering.make<Cycler>();
  cycler->items = arguments.positional;
  return Value(static_cast<Object*>(cycler));
}

Value make_joiner(Rendering& rendering, const Arguments& arguments) {
  const Bound bound(arguments, "joiner", {"sep"});
  const std::string_view separator = bound.text(0, ", ");
  rendering.meter().hold(separator.size());
  auto* joiner = rendering.make<Joiner>();
  joiner->separator = separator;
  return Value(static_cast<Object*>(joiner));
}

Value raise_exception(Rendering& rendering, const Arguments& arguments) {
  const Bound bound(arguments, "raise_exception", {"message"}, 1);
  throw Fault{TemplateError::Cause::raised, print(rendering, *bound.get(0))};
}

Value format_now(Rendering& rendering, const Arguments& arguments) {
  const Bound bound(arguments, "strftime_now", {"format"}, 1);
  const std::string format(bound.text(0, ""));
  if (format.size() > kMaxTimeFormat)
    throw Fault{TemplateError::Cause::limit, fmt::format("a time format has more than {} bytes", kMaxTimeFormat)};
  const std::tm now = rendering.now();
  std::array<char, 8192> buffer{};
  // A format that writes nothing is told from one that does not fit by a character more.
  const std::size_t written = std::strftime(buffer.data(), buffer.size(), (format + ".").c_str(), &now);
  if (written == 0) throw Fault{TemplateError::Cause::limit, "a time format writes too much"};
  return rendering.text(replace_invalid_utf8({buffer.data(), written - 1}));
}

Value make_dictionary(Rendering& rendering, const Arguments& arguments) {
  return rendering.dictionary(entries_of(rendering, arguments, "dict"));
}

using Call = Value (*)(Rendering&, const Arguments&);

Call find_call(std::string_view name) {
  static constexpr std::pair<std::string_view, Call> kFunctions[] = {
      {"range", make_range},       {"dict", make_dictionary}, {"namespace", make_namespace},
      {"cycler", make_cycler},     {"joiner", make_joiner},   {"raise_exception", raise_exception},
      {"strftime_now", format_now}};
  for (const auto& [known, call] : kFunctions)
    if (known == name) return call;
  return nullptr;
}

}  // namespace

Value find_function(Rendering& rendering, std::string_view name) {
  if (!find_call(name)) return {};
  return Value(static_cast<Object*>(rendering.make<Function>(std::string(name))));
}

Value call_function(Rendering& rendering, const Value& callee, const Arguments& arguments) {
  rendering.step();
  pay_for_texts(rendering, arguments);
  if (auto* joiner = callee.object_as<Joiner>()) {
    const Bound bound(arguments, "a joiner", {});
    return rendering.text(std::exchange(joiner->is_used, true) ? joiner->separator : "");
  }
  return find_call(callee.object_as<Function>()->name)(rendering, arguments);
}

bool is_callable(const Value& value) {
  if (const auto* loop = value.object_as<Loop>()) return loop->statement != nullptr;
  return value.object_as<Macro>() || value.object_as<Function>() || value.object_as<Joiner>();
}

}  // namespace nibble::chat
