// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "model/chat/arguments.h"
#include "model/chat/filters.h"
#include "model/chat/format_text.h"
#include "model/chat/methods.h"
#include "model/chat/operators.h"
#include "model/chat/printing.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

// The value as a text that keeps its mark.
struct Soft {
  Soft(Rendering& rendering, const Value& value)
      : bytes(print(rendering, value)), is_safe(value.text() && value.text()->is_safe) {}
  std::string bytes;
  bool is_safe;
};

Value trim(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "trim", {"chars"});
  const Soft text(rendering, value);
  const std::string_view which = bound.text(0, "");
  pay_for_stripping(rendering, which);
  const std::string_view rest = bound.is_given(0) ? strip_of(text.bytes, which) : strip_space(text.bytes);
  return rendering.text(std::string(rest), text.is_safe);
}

Value upper(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "upper", {});
  const Soft text(rendering, value);
  return rendering.text(to_upper(text.bytes), text.is_safe);
}

Value lower(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "lower", {});
  const Soft text(rendering, value);
  return rendering.text(to_lower(text.bytes), text.is_safe);
}

Value capitalize_filter(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "capitalize", {});
  const Soft text(rendering, value);
  return rendering.text(capitalize(text.bytes), text.is_safe);
}

// Words begin behind white space, hyphens and opening brackets, unlike those of title() of a text.
Value title(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "title", {});
  const Soft text(rendering, value);
  std::string result;
  bool begins = true;
  for (std::size_t at = 0; at < text.bytes.size();) {
    const std::string_view point = take_code_point(text.bytes, at);
    const bool splits =
        point == "-" || point == "(" || point == "{" || point == "[" || point == "<" || strip_space(point).empty();
    result += begins && !splits ? to_upper(point) : to_lower(point);
    begins = splits;
  }
  return rendering.text(std::move(result));
}

Value string(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "string", {});
  if (value.text()) return value;
  return rendering.text(print(rendering, value));
}

Value safe(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "safe", {});
  return rendering.text(print(rendering, value), true);
}

Value escape(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "escape", {});
  const Soft text(rendering, value);
  return text.is_safe ? value : rendering.text(escape_html(text.bytes), true);
}

Value force_escape(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "forceescape", {});
  return rendering.text(escape_html(print(rendering, value)), true);
}

Value replace(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "replace", {"old", "new", "count"}, 2);
  const Soft text(rendering, value);
  const std::string what = print(rendering, *bound.get(0)), by = print(rendering, *bound.get(1));
  expect_search(rendering, what);
  rendering.expect_room(text.bytes.size() / std::max<std::size_t>(what.size(), 1) + 1, by.size());
  return rendering.text(replace_text(text.bytes, what, by, std::max<std::int64_t>(bound.whole(2, -1), -1)));
}

Value indent(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "indent", {"width", "first", "blank"});
  const Text* text = value.text();
  if (!text) fail_value(fmt::format("indent wants a text, not {}", value.type_name()));
  const bool is_text = bound.is_given(0) && bound.get(0)->text();
  const std::int64_t width = is_text ? 0 : std::max<std::int64_t>(bound.whole(0, 4), 0);
  rendering.expect_room(static_cast<std::size_t>(width));
  const std::string margin =
      is_text ? std::string(bound.text(0, "")) : std::string(static_cast<std::size_t>(width), ' ');
  rendering.expect_room(text->bytes.size());
  const std::string with_end = text->bytes + "\n";
  std::string result = bound.truth(1, false) ? margin : "";
  bool is_first = true;
  split_lines(with_end, false, [&](std::string_view line) {
    if (!is_first) {
      result += '\n';
      if (bound.truth(2, false) || !line.empty()) result += margin;
    }
    is_first = false;
    result += line;
    rendering.step_text(line.size() + margin.size());
    rendering.expect_room(result.size());
  });
  return rendering.text(std::move(result), text->is_safe);
}

Value center(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "center", {"width"});
  Arguments width{.positional = {Value(bound.whole(0, 80))}, .named = {}};
  const Value text = string(rendering, value, {});
  return call_method(rendering, *rendering.method(text, "center").method(), width);
}

Value truncate(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "truncate", {"length", "killwords", "end", "leeway"});
  const Text* text = value.text();
  if (!text) fail_value(fmt::format("truncate wants a text, not {}", value.type_name()));
  const std::int64_t length = bound.whole(0, 255);
  const std::string_view end = bound.text(2, "...");
  const auto end_length = static_cast<std::int64_t>(count_code_points(end));
  const std::int64_t leeway = bound.whole(3, 5);
  if (length < end_length || leeway < 0) fail_value("truncate cannot cut a text shorter than its end");
  const auto have = static_cast<std::int64_t>(count_code_points(text->bytes));
  if (have - leeway <= length) return value;
  std::string_view kept = slice_text(text->bytes, 0, static_cast<std::size_t>(length - end_length));
  if (!bound.truth(1, false)) kept = kept.substr(0, kept.rfind(' '));
  rendering.expect_room(kept.size() + end.size());
  return rendering.text(std::string(kept).append(end));
}

Value count_words(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "wordcount", {});
  const std::string text = print(rendering, value);
  std::int64_t count = 0;
  bool is_inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view point = take_code_point(text, at);
    const bool is_word = point == "_" || consists_of(point, Letters::alnum);
    if (is_word && !is_inside) ++count;
    is_inside = is_word;
  }
  return Value(count);
}

Value format(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const std::string pattern = print(rendering, value);
  if (!arguments.positional.empty() && !arguments.named.empty()) fail_value("format takes values or names, not both");
  if (arguments.named.empty())
    return rendering.text(format_percent(rendering, pattern, rendering.tuple(arguments.positional)));
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, named] : arguments.named) entries.emplace_back(rendering.text(name), named);
  return rendering.text(format_percent(rendering, pattern, rendering.dictionary(std::move(entries))));
}

JsonStyle style_of(const Bound& bound) {
  JsonStyle style;
  style.is_ascii = bound.truth(0, false);
  if (bound.is_given(1)) {
    const bool is_text = bound.get(1)->text() != nullptr;
    const std::int64_t width = is_text ? 0 : std::clamp<std::int64_t>(bound.whole(1, 0), 0, 1000);
    style.indent = is_text ? std::string(bound.text(1, "")) : std::string(static_cast<std::size_t>(width), ' ');
    style.between = ",";
  }
  if (bound.is_given(2)) {
    const Sequence* both = bound.get(2)->sequence();
    if (!both || both->items.size() != 2 || !both->items[0].text() || !both->items[1].text())
      fail_value("tojson wants two texts as 'separators'");
    style.between = both->items[0].text()->bytes;
    style.after_key = both->items[1].text()->bytes;
  }
  style.is_sorted = bound.truth(3, false);
  return style;
}

Value to_json(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  return rendering.text(print_json(rendering, value, style_of(bound)));
}

// The digits without what stands between and before them; empty if they cannot be digits.
std::string plain_digits(std::string_view text, int base) {
  const std::string lower = to_lower(text);
  std::string_view digits = lower;
  const char kind = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
  if (kind && digits.size() > 2 && digits[0] == '0' && digits[1] == kind) digits.remove_prefix(2);
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const bool is_between = digits[i] == '_' && i > 0 && i + 1 < digits.size() && digits[i + 1] != '_';
    if (digits[i] == '+' || digits[i] == '-') return {};
    if (!is_between) result += digits[i];
  }
  return result;
}

// Python's int(text, base): white space around, a sign, "_" between digits, and what a base begins with.
std::optional<std::int64_t> read_whole(std::string_view text, int base) {
  text = strip_space(text);
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  std::string digits = plain_digits(text, base);
  if (digits.empty()) return std::nullopt;
  std::int64_t value = 0;
  if (is_negative) digits.insert(0, 1, '-');
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error == std::errc::result_out_of_range)
    throw Fault{TemplateError::Cause::unsupported, "a whole number needs more than 64 bits"};
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<double> read_real(std::string_view text) {
  const std::string plain = to_lower(strip_space(text));
  if (plain.empty() || plain.find_first_not_of("0123456789+-.einfty_") != std::string::npos) {
    if (plain != "nan" && plain != "+nan" && plain != "-nan") return std::nullopt;
  }
  const auto is_digit_at = [&](std::size_t i) { return i < plain.size() && plain[i] >= '0' && plain[i] <= '9'; };
  for (std::size_t i = 0; i < plain.size(); ++i)
    if (plain[i] == '_' && (i == 0 || !is_digit_at(i - 1) || !is_digit_at(i + 1))) return std::nullopt;
  std::string digits = plain;
  std::erase(digits, '_');
  return read_decimal(digits);
}

std::optional<std::int64_t> cut_to_whole(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (std::abs(value) >= 9.2e18)
    throw Fault{TemplateError::Cause::unsupported, "a whole number needs more than 64 bits"};
  return static_cast<std::int64_t>(value);
}

Value to_whole(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "int", {"default", "base"});
  const Value otherwise = bound.get(0) ? *bound.get(0) : Value(std::int64_t{0});
  std::optional<std::int64_t> result;
  if (const Text* text = value.text()) {
    rendering.expect_room(text->bytes.size(), 3);
    const std::int64_t base = bound.whole(1, 10);
    if (base >= 2 && base <= 36) result = read_whole(text->bytes, static_cast<int>(base));
    if (!result)
      if (const auto real = read_real(text->bytes)) result = cut_to_whole(*real);
  } else if (const auto whole = value.whole()) {
    result = whole;
  } else if (const auto real = value.number()) {
    result = cut_to_whole(*real);
  } else {
    expect_defined(value);
  }
  return result ? Value(*result) : otherwise;
}

Value to_real(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "float", {"default"});
  if (const auto real = value.number()) return Value(*real);
  expect_defined(value);
  if (const Text* text = value.text()) {
    rendering.expect_room(text->bytes.size(), 3);
    if (const auto real = read_real(text->bytes)) return Value(*real);
  }
  return bound.get(0) ? *bound.get(0) : Value(0.0);
}

Value absolute(Rendering&, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "abs", {});
  expect_defined(value);
  if (const auto whole = value.whole()) return *whole < 0 ? negate(value, true) : Value(*whole);
  if (const double* real = value.real()) return Value(std::abs(*real));
  fail_value(fmt::format("abs wants a number, not {}", value.type_name()));
}

// Python rounds the decimal digits that the number prints as, ties to even of the exact value.
double round_at(double value, std::int64_t digits) {
  if (digits >= 0)
    return read_decimal(fmt::format("{:.{}f}", value, std::min<std::int64_t>(digits, 300))).value_or(value);
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

Value round_number(Rendering&, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "round", {"precision", "method"});
  const std::int64_t precision = std::clamp<std::int64_t>(bound.whole(0, 0), -300, 300);
  const std::string_view method = bound.text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor") fail_value("round knows common, ceil and floor");
  expect_defined(value);
  const auto number = value.number();
  if (!number) fail_value(fmt::format("round wants a number, not {}", value.type_name()));
  if (method == "common")
    return value.whole() && precision >= 0 ? Value(*value.whole()) : Value(round_at(*number, precision));
  const double scale = std::pow(10.0, static_cast<double>(precision));
  return Value((method == "ceil" ? std::ceil(*number * scale) : std::floor(*number * scale)) / scale);
}

Value url_encode(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Bound bound(arguments, "urlencode", {});
  if (value.dictionary() || value.sequence())
    throw Fault{TemplateError::Cause::unsupported, "urlencode of anything but a text is not supported"};
  static constexpr std::string_view kKept = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~/";
  std::string result;
  for (const char c : print(rendering, value)) {
    if (kKept.find(c) != std::string_view::npos)
      result += c;
    else
      result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return rendering.text(std::move(result));
}

}  // namespace

Filter find_text_filter(std::string_view name) {
  static constexpr std::pair<std::string_view, Filter> kFilters[] = {
      {"abs", absolute},
      {"capitalize", capitalize_filter},
      {"center", center},
      {"e", escape},
      {"escape", escape},
      {"float", to_real},
      {"forceescape", force_escape},
      {"format", format},
      {"indent", indent},
      {"int", to_whole},
      {"lower", lower},
      {"replace", replace},
      {"round", round_number},
      {"safe", safe},
      {"string", string},
      {"title", title},
      {"tojson", to_json},
      {"trim", trim},
      {"truncate", truncate},
      {"upper", upper},
      {"urlencode", url_encode},
      {"wordcount", count_words},
  };
  for (const auto& [known, filter] : kFilters)
    if (known == name) return filter;
  return nullptr;
}

}  // namespace nibble::chat
