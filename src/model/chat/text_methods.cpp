// SPDX-License-Identifier: Apache-2.0
#include "model/chat/text_methods.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/chat/arguments.h"
#include "model/chat/format_text.h"
#include "model/chat/operators.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

// What a method is called with, and what it makes texts of.
struct Call {
  Rendering& rendering;
  const Text& self;
  std::string_view name;
  const Arguments& arguments;

  // Looking from the right takes a step for every byte of both.
  void pay_from_right(std::size_t what) const { rendering.step(1 + self.bytes.size() / 64 * what); }
  Value text(std::string result) const { return rendering.text(std::move(result), self.is_safe); }
  // split: hands each part to what it is called with.
  template <typename Split>
  Value texts(Split&& split) const {
    std::vector<Value> items;
    split([&](std::string_view part) { items.push_back(text(std::string(part))); });
    if (name == "rsplit") return rendering.sequence({items.rbegin(), items.rend()});
    return rendering.sequence(std::move(items));
  }
};

Value call_strip(const Call& call) {
  const Bound bound(call.arguments, call.name, {"chars"});
  const Side side = call.name == "strip" ? Side::both : call.name == "lstrip" ? Side::left : Side::right;
  if (!bound.is_given(0)) return call.text(std::string(strip_space(call.self.bytes, side)));
  const std::string_view which = bound.text(0, "");
  pay_for_stripping(call.rendering, which);
  return call.text(std::string(strip_of(call.self.bytes, which, side)));
}

Value call_split(const Call& call) {
  const Bound bound(call.arguments, call.name, {"sep", "maxsplit"});
  const std::int64_t most = std::max<std::int64_t>(bound.whole(1, -1), -1);
  const bool from_right = call.name == "rsplit";
  if (!bound.is_given(0))
    return call.texts([&](const TakePart& take) {
      (from_right ? split_space_from_right : split_space)(call.self.bytes, most, take);
    });
  const std::string_view separator = bound.text(0, "");
  if (separator.empty()) fail_value("a text cannot be split at an empty text");
  if (from_right) call.pay_from_right(separator.size());
  expect_search(call.rendering, separator);
  return call.texts([&](const TakePart& take) {
    (from_right ? split_text_from_right : split_text)(call.self.bytes, separator, most, take);
  });
}

Value call_partition(const Call& call) {
  const Bound bound(call.arguments, call.name, {"sep"}, 1);
  const std::string_view separator = bound.text(0, "");
  if (separator.empty()) fail_value("a text cannot be split at an empty text");
  expect_search(call.rendering, separator);
  call.rendering.expect_room(call.self.bytes.size());
  const bool from_right = call.name == "rpartition";
  if (from_right) call.pay_from_right(separator.size());
  const std::string& text = call.self.bytes;
  const std::size_t found = from_right ? text.rfind(separator) : find_text(text, separator);
  std::string parts[3];
  if (found == std::string::npos) {
    parts[from_right ? 2 : 0] = text;
  } else {
    parts[0] = text.substr(0, found);
    parts[1] = separator;
    parts[2] = text.substr(found + separator.size());
  }
  return call.rendering.tuple({call.text(parts[0]), call.text(parts[1]), call.text(parts[2])});
}

// The part [start, end) of code points that a search is about, and where it begins.
std::pair<std::string_view, std::int64_t> part_of(const Call& call, const Bound& bound) {
  const auto length = static_cast<std::int64_t>(count_code_points(call.self.bytes));
  const auto settle = [&](std::size_t i, std::int64_t otherwise) {
    const std::int64_t place = bound.whole(i, otherwise);
    return std::clamp<std::int64_t>(place < 0 ? place + length : place, 0, length);
  };
  const std::int64_t begin = settle(1, 0), end = settle(2, length);
  return {slice_text(call.self.bytes, static_cast<std::size_t>(begin), static_cast<std::size_t>(end)), begin};
}

Value call_starts_or_ends(const Call& call) {
  const Bound bound(call.arguments, call.name, {"prefix", "start", "end"}, 1);
  const std::string_view part = part_of(call, bound).first;
  const auto fits = [&](const Value& value) {
    const Text* text = value.text();
    if (!text) fail_value(fmt::format("{} wants a text or a tuple of texts, not {}", call.name, value.type_name()));
    call.rendering.step_text(std::min(part.size(), text->bytes.size()));
    return call.name == "startswith" ? part.starts_with(text->bytes) : part.ends_with(text->bytes);
  };
  const Sequence* several = bound.get(0)->sequence();
  if (!several || several->kind != Sequence::Kind::tuple) return Value(fits(*bound.get(0)));
  return Value(std::any_of(several->items.begin(), several->items.end(), fits));
}

Value call_find(const Call& call) {
  const Bound bound(call.arguments, call.name, {"sub", "start", "end"}, 1);
  if (!bound.get(0)->text()) fail_value(fmt::format("{} wants a text, not {}", call.name, bound.get(0)->type_name()));
  const auto [part, begin] = part_of(call, bound);
  const std::string& what = bound.get(0)->text()->bytes;
  expect_search(call.rendering, what);
  if (call.name == "count") {
    std::int64_t count = what.empty() ? static_cast<std::int64_t>(count_code_points(part)) + 1 : 0;
    for (std::size_t at = 0; !what.empty() && (at = find_text(part, what, at)) != std::string::npos; at += what.size())
      ++count;
    return Value(count);
  }
  const bool from_right = call.name[0] == 'r';
  if (from_right) call.pay_from_right(what.size());
  const std::size_t found = from_right ? part.rfind(what) : find_text(part, what);
  if (found != std::string::npos)
    return Value(begin + static_cast<std::int64_t>(count_code_points(part.substr(0, found))));
  if (call.name.ends_with("index")) fail_value(fmt::format("{}() found no such text", call.name));
  return Value(std::int64_t{-1});
}

Value call_replace(const Call& call) {
  const Bound bound(call.arguments, "replace", {"old", "new", "count"}, 2);
  if (!bound.is_given(0) || !bound.is_given(1)) fail_value("replace wants texts, not None");
  const std::string_view what = bound.text(0, ""), by = bound.text(1, "");
  const std::size_t places = call.self.bytes.size() / std::max<std::size_t>(what.size(), 1) + 1;
  expect_search(call.rendering, what);
  call.rendering.expect_room(places, by.size());
  return call.text(replace_text(call.self.bytes, what, by, std::max<std::int64_t>(bound.whole(2, -1), -1)));
}

Value call_join(const Call& call) {
  const Bound bound(call.arguments, "join", {"iterable"}, 1);
  std::string result;
  bool is_first = true;
  for (const Value& item : iterate(call.rendering, *bound.get(0))) {
    const Text* text = item.text();
    if (!text)
      fail_value(fmt::format("join wants texts, not {}; the filter join takes other values too", item.type_name()));
    if (!std::exchange(is_first, false)) result += call.self.bytes;
    result += call.self.is_safe && !text->is_safe ? escape_html(text->bytes) : text->bytes;
    call.rendering.step_text(text->bytes.size() + call.self.bytes.size());
    call.rendering.expect_room(result.size());
  }
  return call.text(std::move(result));
}

Value call_case(const Call& call) {
  const Bound bound(call.arguments, call.name, {});
  const std::string& text = call.self.bytes;
  call.rendering.expect_room(text.size());
  if (call.name == "upper") return call.text(to_upper(text));
  if (call.name == "title") return call.text(to_title(text));
  if (call.name == "capitalize") return call.text(capitalize(text));
  if (call.name == "swapcase") return call.text(swap_case(text));
  return call.text(to_lower(text));
}

Value call_is(const Call& call) {
  const Bound bound(call.arguments, call.name, {});
  static constexpr std::pair<std::string_view, Letters> kKinds[] = {
      {"isalpha", Letters::alpha},     {"isalnum", Letters::alnum},     {"isdigit", Letters::digit},
      {"isnumeric", Letters::numeric}, {"isdecimal", Letters::decimal}, {"isspace", Letters::space},
      {"islower", Letters::lower},     {"isupper", Letters::upper}};
  for (const auto& [name, which] : kKinds)
    if (call.name == name) return Value(consists_of(call.self.bytes, which));
  return Value(false);
}

Value call_remove(const Call& call) {
  const Bound bound(call.arguments, call.name, {"affix"}, 1);
  const std::string_view affix = bound.text(0, "");
  std::string_view text = call.self.bytes;
  if (call.name == "removeprefix" && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (call.name == "removesuffix" && text.ends_with(affix)) text.remove_suffix(affix.size());
  return call.text(std::string(text));
}

Value call_justify(const Call& call) {
  const Bound bound(call.arguments, call.name, {"width", "fillchar"}, 1);
  const bool fills_zero = call.name == "zfill";
  const std::string_view fill = bound.text(1, fills_zero ? "0" : " ");
  if (count_code_points(fill) != 1) fail_value(fmt::format("{} fills with one character", call.name));
  const std::int64_t missing = bound.whole(0, 0) - static_cast<std::int64_t>(count_code_points(call.self.bytes));
  if (missing <= 0) return call.text(call.self.bytes);
  call.rendering.expect_room(static_cast<std::size_t>(missing), fill.size());
  // Python puts the odd character of center() to the left if the width is odd.
  const std::int64_t half = missing / 2 + (missing & bound.whole(0, 0) & 1);
  const std::int64_t left = call.name == "ljust" ? 0 : call.name == "center" ? half : missing;
  std::string result, body = call.self.bytes;
  if (fills_zero && (body.starts_with('-') || body.starts_with('+'))) {
    result = body[0];
    body.erase(0, 1);
  }
  for (std::int64_t i = 0; i < left; ++i) result += fill;
  result += body;
  for (std::int64_t i = left; i < missing; ++i) result += fill;
  return call.text(std::move(result));
}

Value call_format(const Call& call) {
  return call.text(format_braces(call.rendering, call.self.bytes, call.arguments));
}

Value call_lines(const Call& call) {
  const Bound bound(call.arguments, "splitlines", {"keepends"});
  return call.texts([&](const TakePart& take) { split_lines(call.self.bytes, bound.truth(0, false), take); });
}

struct TextMethod {
  std::string_view name;
  Value (*call)(const Call&);
};

constexpr TextMethod kMethods[] = {
    {"strip", call_strip},
    {"lstrip", call_strip},
    {"rstrip", call_strip},
    {"split", call_split},
    {"rsplit", call_split},
    {"splitlines", call_lines},
    {"partition", call_partition},
    {"rpartition", call_partition},
    {"startswith", call_starts_or_ends},
    {"endswith", call_starts_or_ends},
    {"find", call_find},
    {"rfind", call_find},
    {"index", call_find},
    {"rindex", call_find},
    {"count", call_find},
    {"replace", call_replace},
    {"join", call_join},
    {"upper", call_case},
    {"lower", call_case},
    {"title", call_case},
    {"capitalize", call_case},
    {"swapcase", call_case},
    {"casefold", call_case},
    {"isalpha", call_is},
    {"isalnum", call_is},
    {"isdigit", call_is},
    {"isnumeric", call_is},
    {"isdecimal", call_is},
    {"isspace", call_is},
    {"islower", call_is},
    {"isupper", call_is},
    {"removeprefix", call_remove},
    {"removesuffix", call_remove},
    {"center", call_justify},
    {"ljust", call_justify},
    {"rjust", call_justify},
    {"zfill", call_justify},
    {"format", call_format},
};

const TextMethod* find_text_method(std::string_view name) {
  for (const TextMethod& method : kMethods)
    if (method.name == name) return &method;
  return nullptr;
}

}  // namespace

bool is_text_method(std::string_view name) { return find_text_method(name) != nullptr; }

Value call_on_text(Rendering& rendering, const Method& method, const Arguments& arguments) {
  const Text& self = *method.self.text();
  rendering.step_text(self.bytes.size());
  return find_text_method(method.name)->call({rendering, self, method.name, arguments});
}

}  // namespace nibble::chat
