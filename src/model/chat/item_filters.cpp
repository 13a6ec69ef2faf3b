// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "io/message_text.h"
#include "model/chat/arguments.h"
#include "model/chat/filters.h"
#include "model/chat/operators.h"
#include "model/chat/printing.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

using Items = std::vector<Value>;

Value iterator(Rendering& rendering, Items items) {
  return rendering.sequence(std::move(items), Sequence::Kind::iterator);
}

Value without_case(Rendering& rendering, const Value& value) {
  return value.text() ? rendering.text(to_lower(value.text()->bytes)) : value;
}

// "address.city" or 0: what sort, map and others look at in each item.
class Path {
 public:
  Path(Rendering& rendering, const Value& attribute) : rendering_(rendering) {
    if (attribute.is_none()) return;
    if (const auto whole = attribute.whole()) {
      keys_.emplace_back(*whole);
      return;
    }
    if (!attribute.text()) fail_value(fmt::format("an attribute is a text or a number, not {}", attribute.type_name()));
    split_text(attribute.text()->bytes, ".", -1, [&](std::string_view part) { keys_.push_back(key_of_part(part)); });
  }

  Value of(const Value& item, const Value* otherwise = nullptr) const {
    Value value = item;
    for (const Value& key : keys_) {
      value = get_item(rendering_, value, key);
      if (otherwise && !otherwise->is_none() && value.is_undefined()) value = *otherwise;
    }
    return value;
  }

 private:
  Value key_of_part(std::string_view part) const {
    if (part.empty() || part.size() > 9 || part.find_first_not_of("0123456789") != std::string_view::npos)
      return rendering_.text(std::string(part));
    return Value(std::int64_t{std::stoi(std::string(part))});
  }

  Rendering& rendering_;
  Items keys_;
};

const Value& value_or_none(const Value* value) {
  static const Value none{None{}};
  return value ? *value : none;
}

// Items by their keys, equal ones in the order that they had.
Items sort_by(Rendering& rendering, const Items& items, const std::vector<Items>& keys, bool is_reversed) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto is_before = [&](std::size_t a, std::size_t b) {
    for (std::size_t k = 0; k < keys[a].size(); ++k)
      if (!equals(rendering, keys[a][k], keys[b][k])) return is_less(rendering, keys[a][k], keys[b][k]);
    return false;
  };
  if (is_reversed) std::reverse(order.begin(), order.end());
  std::stable_sort(order.begin(), order.end(), is_before);
  if (is_reversed) std::reverse(order.begin(), order.end());
  Items sorted;
  for (const std::size_t i : order) sorted.push_back(items[i]);
  return sorted;
}

Value sort(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "sort", {"reverse", "case_sensitive", "attribute"});
  std::vector<Path> paths;
  const Value& attribute = value_or_none(bound.get(2));
  if (attribute.text()) {
    split_text(attribute.text()->bytes, ",", -1,
               [&](std::string_view part) { paths.emplace_back(rendering, rendering.text(std::string(part))); });
  } else {
    paths.emplace_back(rendering, attribute);
  }
  const Items items = iterate(rendering, value);
  std::vector<Items> keys;
  for (const Value& item : items) {
    Items& of_item = keys.emplace_back();
    for (const Path& path : paths)
      of_item.push_back(bound.truth(1, false) ? path.of(item) : without_case(rendering, path.of(item)));
  }
  return rendering.sequence(sort_by(rendering, items, keys, bound.truth(0, false)));
}

Value sort_dictionary(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "dictsort", {"case_sensitive", "by", "reverse"});
  expect_defined(value);
  if (!value.dictionary()) fail_value(fmt::format("dictsort wants a dict, not {}", value.type_name()));
  const std::string_view by = bound.text(1, "key");
  if (by != "key" && by != "value") fail_value("dictsort sorts by 'key' or 'value'");
  Items items;
  std::vector<Items> keys;
  for (const auto& [key, item] : value.dictionary()->entries) {
    const Value& sorted = by == "key" ? key : item;
    items.push_back(rendering.tuple({key, item}));
    keys.push_back({bound.truth(0, false) ? sorted : without_case(rendering, sorted)});
  }
  return rendering.sequence(sort_by(rendering, items, keys, bound.truth(2, false)));
}

Value group_by(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "groupby", {"attribute", "default", "case_sensitive"}, 1);
  const Path path(rendering, *bound.get(0));
  const Items items = iterate(rendering, value);
  const bool is_exact = bound.truth(2, false);
  const auto key_of_item = [&](const Value& item) {
    const Value key = path.of(item, bound.get(1));
    return is_exact ? key : without_case(rendering, key);
  };
  std::vector<Items> keys;
  for (const Value& item : items) keys.push_back({key_of_item(item)});
  Items groups, group;
  const auto close = [&] {
    if (group.empty()) return;
    const Value key = path.of(group.front(), bound.get(1));
    groups.push_back(rendering.tuple({key, rendering.sequence(std::move(group))}));
    group.clear();
  };
  for (const Value& item : sort_by(rendering, items, keys, false)) {
    if (!group.empty() && !equals(rendering, key_of_item(group.front()), key_of_item(item))) close();
    group.push_back(item);
  }
  close();
  return rendering.sequence(std::move(groups));
}

Value unique(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "unique", {"case_sensitive", "attribute"});
  const Path path(rendering, value_or_none(bound.get(1)));
  std::set<std::string> seen;
  std::size_t seen_bytes = 0;
  Items items;
  for (const Value& item : iterate(rendering, value)) {
    Value key = path.of(item);
    if (!bound.truth(0, false)) key = without_case(rendering, key);
    rendering.step_key(key);
    std::optional<std::string> name = key_of(key);
    if (!name) fail_value(fmt::format("unique cannot compare values of type {}", key.type_name()));
    const std::size_t bytes = name->size() + 64;
    if (!seen.insert(std::move(*name)).second) continue;
    rendering.expect_room(seen_bytes += bytes);
    items.push_back(item);
  }
  return iterator(rendering, std::move(items));
}

Value extreme(Rendering& rendering, const Value& value, const Arguments& arguments, bool is_largest) {
  const Bound bound(arguments, is_largest ? "max" : "min", {"case_sensitive", "attribute"});
  const Path path(rendering, value_or_none(bound.get(1)));
  const Items items = iterate(rendering, value);
  if (items.empty()) return make_undefined("there is no smallest or largest of no items");
  const Value* best = nullptr;
  Value best_key;
  for (const Value& item : items) {
    Value key = path.of(item);
    if (!bound.truth(0, false)) key = without_case(rendering, key);
    if (best && !(is_largest ? is_less(rendering, best_key, key) : is_less(rendering, key, best_key))) continue;
    best = &item;
    best_key = std::move(key);
  }
  return *best;
}

Value smallest(Rendering& rendering, const Value& value, const Arguments& arguments) {
  return extreme(rendering, value, arguments, false);
}

Value largest(Rendering& rendering, const Value& value, const Arguments& arguments) {
  return extreme(rendering, value, arguments, true);
}

Value sum(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "sum", {"attribute", "start"});
  const Path path(rendering, value_or_none(bound.get(0)));
  Value total = bound.get(1) ? *bound.get(1) : Value(std::int64_t{0});
  if (total.text()) fail_value("sum does not add texts; use join");
  for (const Value& item : iterate(rendering, value)) total = calculate(rendering, "+", total, path.of(item));
  return total;
}

Value join(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "join", {"d", "attribute"});
  const Path path(rendering, value_or_none(bound.get(1)));
  const std::string separator = bound.get(0) ? print(rendering, *bound.get(0)) : "";
  std::string result;
  bool is_first = true;
  for (const Value& item : iterate(rendering, value)) {
    if (!std::exchange(is_first, false)) result += separator;
    result += print(rendering, path.of(item));
    rendering.step_text(separator.size());
    rendering.expect_room(result.size());
  }
  return rendering.text(std::move(result));
}

Value first(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "first", {});
  const Items items = iterate(rendering, value);
  return items.empty() ? make_undefined("there is no first of no items") : items.front();
}

Value last(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "last", {});
  expect_defined(value);
  if (value.sequence() && !value.sequence()->has_length()) fail_value("an iterator has no last; make it a list");
  const Items items = iterate(rendering, value);
  return items.empty() ? make_undefined("there is no last of no items") : items.back();
}

Value list(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "list", {});
  return rendering.sequence(iterate(rendering, value));
}

Value items(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "items", {});
  Items pairs;
  if (value.is_undefined()) return iterator(rendering, std::move(pairs));
  if (!value.dictionary()) fail_value(fmt::format("items wants a dict, not {}", value.type_name()));
  for (const auto& [key, item] : value.dictionary()->entries) pairs.push_back(rendering.tuple({key, item}));
  return iterator(rendering, std::move(pairs));
}

Value reverse(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "reverse", {});
  const Items items = iterate(rendering, value);
  Items reversed(items.rbegin(), items.rend());
  const Text* text = value.text();
  if (!text) return iterator(rendering, std::move(reversed));
  std::string result;
  for (const Value& point : reversed) result += point.text()->bytes;
  return rendering.text(std::move(result), text->is_safe);
}

Value length(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "length", {});
  if (auto* loop = value.object_as<Loop>()) return Value(loop->length());
  if (value.text()) rendering.step_text(value.text()->bytes.size());
  return Value(length_of(value));
}

Value otherwise(Rendering&, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "default", {"default_value", "boolean"});
  if (!value.is_undefined() && !(bound.truth(1, false) && !is_true(value))) return value;
  if (bound.get(0)) return *bound.get(0);
  static const Value empty(std::make_shared<const Text>(nullptr, "", false));
  return empty;
}

Value batch(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "batch", {"linecount", "fill_with"}, 1);
  const std::int64_t count = bound.whole(0, 0);
  Items batches, row;
  for (const Value& item : iterate(rendering, value)) {
    if (static_cast<std::int64_t>(row.size()) == count) batches.push_back(rendering.sequence(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (bound.is_given(1) && count > static_cast<std::int64_t>(row.size())) {
      rendering.expect_room(static_cast<std::size_t>(count), sizeof(Value));
      row.resize(static_cast<std::size_t>(count), *bound.get(1));
    }
    batches.push_back(rendering.sequence(std::move(row)));
  }
  return iterator(rendering, std::move(batches));
}

Value slice(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "slice", {"slices", "fill_with"}, 1);
  const Items all = iterate(rendering, value);
  if (bound.whole(0, 0) == 0) fail_value("slice cannot make 0 slices");
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(bound.whole(0, 0), 0));
  rendering.expect_room(count, sizeof(Value) + 64);
  Items slices;
  for (std::size_t i = 0, at = 0; i < count; ++i) {
    const std::size_t size = all.size() / count + (i < all.size() % count ? 1 : 0);
    Items part(all.begin() + static_cast<std::ptrdiff_t>(at), all.begin() + static_cast<std::ptrdiff_t>(at + size));
    if (bound.is_given(1) && i >= all.size() % count) part.push_back(*bound.get(1));
    slices.push_back(rendering.sequence(std::move(part)));
    at += size;
  }
  return iterator(rendering, std::move(slices));
}

Value attribute(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "attr", {"name"}, 1);
  const std::string_view name = bound.text(0, "");
  // An item of that name is no attribute.
  if (value.dictionary() && value.dictionary()->find(name)) {
    const Value empty = rendering.dictionary({});
    return get_attribute(rendering, empty, name);
  }
  return get_attribute(rendering, value, name);
}

Value map(Rendering& rendering, const Value& value, const Arguments& arguments) {
  Items mapped;
  if (!is_true(value)) return iterator(rendering, std::move(mapped));
  if (arguments.positional.empty()) {
    const Bound bound(arguments, "map", {"attribute", "default"}, 1);
    const Path path(rendering, *bound.get(0));
    for (const Value& item : iterate(rendering, value)) mapped.push_back(path.of(item, bound.get(1)));
    return iterator(rendering, std::move(mapped));
  }
  const Text* name = arguments.positional[0].text();
  if (!name) fail_value("map wants a filter's name or attribute=");
  const Arguments rest{.positional = {arguments.positional.begin() + 1, arguments.positional.end()},
                       .named = arguments.named};
  for (const Value& item : iterate(rendering, value))
    mapped.push_back(apply_filter(rendering, name->bytes, item, rest));
  return iterator(rendering, std::move(mapped));
}

// select, reject: by a test of each item, or of an attribute of it; without a test by its truth.
Value choose(Rendering& rendering, const Value& value, const Arguments& arguments, bool by_attribute, bool wanted) {
  Items chosen;
  if (!is_true(value)) return iterator(rendering, std::move(chosen));
  const Items& given = arguments.positional;
  if (by_attribute && given.empty()) fail_value("selectattr and rejectattr want an attribute");
  const Path path(rendering, by_attribute ? given[0] : Value(None{}));
  const std::size_t skipped = by_attribute ? 1 : 0;
  const Text* test = given.size() > skipped ? given[skipped].text() : nullptr;
  if (given.size() > skipped && !test) fail_value("select and reject want a test's name");
  Arguments rest{.positional = {}, .named = arguments.named};
  if (test) rest.positional.assign(given.begin() + static_cast<std::ptrdiff_t>(skipped) + 1, given.end());
  for (const Value& item : iterate(rendering, value)) {
    const Value tested = path.of(item);
    if ((test ? apply_test(rendering, test->bytes, tested, rest) : is_true(tested)) == wanted) chosen.push_back(item);
  }
  return iterator(rendering, std::move(chosen));
}

template <bool ByAttribute, bool Wanted>
Value choose(Rendering& rendering, const Value& value, const Arguments& arguments) {
  return choose(rendering, value, arguments, ByAttribute, Wanted);
}

}  // namespace

Filter find_item_filter(std::string_view name) {
  static constexpr std::pair<std::string_view, Filter> kFilters[] = {
      {"attr", attribute},
      {"batch", batch},
      {"count", length},
      {"d", otherwise},
      {"default", otherwise},
      {"dictsort", sort_dictionary},
      {"first", first},
      {"groupby", group_by},
      {"items", items},
      {"join", join},
      {"last", last},
      {"length", length},
      {"list", list},
      {"map", map},
      {"max", largest},
      {"min", smallest},
      {"reject", choose<false, false>},
      {"rejectattr", choose<true, false>},
      {"reverse", reverse},
      {"select", choose<false, true>},
      {"selectattr", choose<true, true>},
      {"slice", slice},
      {"sort", sort},
      {"sum", sum},
      {"unique", unique},
  };
  for (const auto& [known, filter] : kFilters)
    if (known == name) return filter;
  return nullptr;
}

Filter find_filter(std::string_view name) {
  if (const Filter filter = find_text_filter(name)) return filter;
  return find_item_filter(name);
}

Value apply_filter(Rendering& rendering, std::string_view name, const Value& value, const Arguments& arguments) {
  rendering.step();
  const Filter filter = find_filter(name);
  if (!filter) throw Fault{TemplateError::Cause::unsupported, fmt::format("no filter is named {}", quote_name(name))};
  if (value.text()) rendering.step(value.text()->bytes.size() / 64);
  pay_for_texts(rendering, arguments);
  return filter(rendering, value, arguments);
}

}  // namespace nibble::chat
