// SPDX-License-Identifier: Apache-2.0
#include "model/chat/format_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/utf8.h"
#include "io/message_text.h"
#include "model/chat/operators.h"
#include "model/chat/printing.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

constexpr int kMaxWidth = 10'000;
constexpr int kMaxPrecision = 100;

// What both ways say about one field.
struct Field {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '-';    // + - or a space
  bool is_alternate = false;
  bool groups = false;
  int width = 0;
  int precision = -1;
  char type = '\0';
};

std::string pad(const std::string& text, const Field& field, char align) {
  const auto length = static_cast<int>(count_code_points(text));
  if (length >= field.width) return text;
  const int missing = field.width - length;
  const int left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string result;
  for (int i = 0; i < left; ++i) result += field.fill;
  result += text;
  for (int i = left; i < missing; ++i) result += field.fill;
  return result;
}

std::string group_digits(const std::string& digits) {
  const std::size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  std::string result;
  for (std::size_t i = 0; i < end; ++i) {
    if (i && (end - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result + digits.substr(end);
}

// Sign, then what stands before the digits, then the digits, padded between where the field says so.
std::string lay_out_number(const Field& field, bool is_negative, const std::string& prefix, std::string digits) {
  if (field.groups) digits = group_digits(digits);
  const std::string head = (is_negative ? "-" : field.sign == '-' ? "" : std::string(1, field.sign)) + prefix;
  if (field.align != '=') return pad(head + digits, field, field.align ? field.align : '>');
  Field rest = field;
  rest.width -= static_cast<int>(head.size());
  return head + pad(digits, rest, '>');
}

std::string whole_digits(std::uint64_t magnitude, char type) {
  switch (type) {
    case 'x':
      return fmt::format("{:x}", magnitude);
    case 'X':
      return fmt::format("{:X}", magnitude);
    case 'o':
      return fmt::format("{:o}", magnitude);
    case 'b':
      return fmt::format("{:b}", magnitude);
    default:
      return fmt::format("{}", magnitude);
  }
}

std::string format_whole(const Field& field, std::int64_t value) {
  const std::uint64_t magnitude = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  const bool has_base = field.type == 'x' || field.type == 'X' || field.type == 'o' || field.type == 'b';
  std::string digits = whole_digits(magnitude, field.type);
  if (field.precision > static_cast<int>(digits.size()))
    digits.insert(0, static_cast<std::size_t>(field.precision) - digits.size(), '0');
  return lay_out_number(field, value < 0, field.is_alternate && has_base ? std::string("0") + field.type : "", digits);
}

std::string real_digits(const Field& field, double magnitude) {
  const int precision = field.precision < 0 ? 6 : field.precision;
  switch (field.type) {
    case 'f':
    case 'F':
      return fmt::format("{:.{}f}", magnitude, precision);
    case 'e':
      return fmt::format("{:.{}e}", magnitude, precision);
    case 'E':
      return fmt::format("{:.{}E}", magnitude, precision);
    case 'G':
      return fmt::format("{:.{}G}", magnitude, precision);
    case '%':
      return fmt::format("{:.{}f}%", magnitude * 100, precision);
    default:
      return fmt::format("{:.{}g}", magnitude, std::max(precision, 1));
  }
}

std::string format_real(const Field& field, double value) {
  std::string digits;
  if (!field.type && field.precision < 0)
    digits = print_real(std::abs(value));
  else
    digits = real_digits(field, std::abs(value));
  if (!field.type && field.precision >= 0 && digits.find_first_not_of("0123456789") == std::string::npos)
    digits += ".0";
  return lay_out_number(field, std::signbit(value) && !std::isnan(value), "", digits);
}

std::string format_plain(const Field& field, const std::string& text) {
  if (field.align == '=') fail_value("'=' aligns numbers only");
  const std::size_t length = count_code_points(text);
  if (field.precision < 0 || length <= static_cast<std::size_t>(field.precision))
    return pad(text, field, field.align ? field.align : '<');
  return pad(std::string(slice_text(text, 0, static_cast<std::size_t>(field.precision))), field,
             field.align ? field.align : '<');
}

bool is_one_of(char c, std::string_view these) { return c && these.find(c) != std::string_view::npos; }

int read_count(std::string_view text, std::size_t& at, int most, const char* what) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range || value > most)
    throw Fault{TemplateError::Cause::limit, fmt::format("a {} beyond {}", what, most)};
  at = static_cast<std::size_t>(end - text.data());
  return value;
}

bool is_digit_at(std::string_view text, std::size_t at) {
  return at < text.size() && text[at] >= '0' && text[at] <= '9';
}

// %: a whole number where a real one is given is cut.
std::int64_t whole_of(const Value& value) {
  expect_defined(value);
  if (const auto whole = value.whole()) return *whole;
  const auto real = value.number();
  if (!real || !(std::abs(*real) < 9.2e18)) fail_value(fmt::format("%d wants a number, not {}", value.type_name()));
  return static_cast<std::int64_t>(*real);
}

class PercentFormatter {
 public:
  PercentFormatter(Rendering& rendering, std::string_view pattern, const Value& values)
      : rendering_(rendering), pattern_(pattern), values_(values) {
    const Sequence* sequence = values.sequence();
    tuple_ = sequence && sequence->kind == Sequence::Kind::tuple ? sequence : nullptr;
  }

  std::string run() {
    for (std::size_t at = 0; at < pattern_.size();) {
      if (pattern_[at] != '%') {
        result_ += pattern_[at++];
        continue;
      }
      ++at;
      format_field(at);
      rendering_.step();
      rendering_.expect_room(result_.size());
    }
    const bool leaves_some =
        tuple_ ? used_ < tuple_->items.size() : used_ == 0 && !values_.dictionary() && !values_.sequence();
    if (leaves_some) fail_value("'%' has more values than its text has places");
    return std::move(result_);
  }

 private:
  const Value& next() {
    if (named_) return *std::exchange(named_, nullptr);
    if (!tuple_ && used_++ == 0) return values_;
    if (!tuple_ || used_ >= tuple_->items.size()) fail_value("'%' has fewer values than its text has places");
    return tuple_->items[used_++];
  }

  void read_name(std::size_t& at) {
    if (at >= pattern_.size() || pattern_[at] != '(') return;
    const std::size_t end = pattern_.find(')', at);
    if (end == std::string_view::npos) fail_value("'%' has a name without an end");
    if (!values_.dictionary()) fail_value("'%' with a name wants a dict");
    named_ = values_.dictionary()->find(pattern_.substr(at + 1, end - at - 1));
    if (!named_) fail_value("'%' names a key that the dict does not have");
    at = end + 1;
  }

  Field read_field(std::size_t& at) {
    Field field;
    bool pads_zero = false, is_left = false;
    for (; at < pattern_.size() && is_one_of(pattern_[at], "-+ #0"); ++at) {
      const char flag = pattern_[at];
      if (flag == '-') is_left = true;
      if (flag == '+' || (flag == ' ' && field.sign != '+')) field.sign = flag;
      if (flag == '#') field.is_alternate = true;
      if (flag == '0') pads_zero = true;
    }
    if (is_digit_at(pattern_, at)) field.width = read_count(pattern_, at, kMaxWidth, "width");
    if (at < pattern_.size() && pattern_[at] == '.') {
      ++at;
      field.precision = is_digit_at(pattern_, at) ? read_count(pattern_, at, kMaxPrecision, "precision") : 0;
    }
    if (at >= pattern_.size()) fail_value("'%' has an incomplete place");
    field.type = pattern_[at++];
    field.align = is_left ? '<' : '>';
    if (pads_zero && !is_left && field.type != 's' && field.type != 'r') {
      field.align = '=';
      field.fill = "0";
    }
    return field;
  }

  void format_field(std::size_t& at) {
    read_name(at);
    Field field = read_field(at);
    if (field.type == '%') {
      result_ += '%';
    } else if (field.type == 's') {
      result_ += format_plain(field, print(rendering_, next()));
    } else if (field.type == 'r') {
      result_ += format_plain(field, represent(rendering_, next()));
    } else if (is_one_of(field.type, "diuxXo")) {
      result_ += format_whole(field, whole_of(next()));
    } else if (is_one_of(field.type, "fFeEgG")) {
      const Value& value = next();
      expect_defined(value);
      if (!value.number()) fail_value(fmt::format("'%' wants a number, not {}", value.type_name()));
      result_ += format_real(field, *value.number());
    } else {
      throw Fault{TemplateError::Cause::unsupported, fmt::format("'%{}' is not supported", field.type)};
    }
  }

  Rendering& rendering_;
  std::string_view pattern_;
  const Value& values_;
  const Sequence* tuple_ = nullptr;
  const Value* named_ = nullptr;
  std::size_t used_ = 0;
  std::string result_;
};

class BraceFormatter {
 public:
  BraceFormatter(Rendering& rendering, std::string_view pattern, const Arguments& values)
      : rendering_(rendering), pattern_(pattern), values_(values) {}

  std::string run() {
    for (std::size_t at = 0; at < pattern_.size();) {
      const char c = pattern_[at++];
      if (c != '{' && c != '}') {
        result_ += c;
      } else if (at < pattern_.size() && pattern_[at] == c) {
        result_ += c;
        ++at;
      } else if (c == '}') {
        fail_value("format() found a single '}'");
      } else {
        format_field(at);
      }
      rendering_.expect_room(result_.size());
    }
    rendering_.step_text(pattern_.size());
    return std::move(result_);
  }

 private:
  void format_field(std::size_t& at) {
    const std::size_t end = pattern_.find('}', at);
    if (end == std::string_view::npos) fail_value("format() found '{' without an end");
    std::string_view field = pattern_.substr(at, end - at);
    if (field.find('{') != std::string_view::npos)
      throw Fault{TemplateError::Cause::unsupported, "fields inside fields are not supported by format()"};
    at = end + 1;
    const std::size_t colon = field.find(':');
    const std::string_view pattern = colon == std::string_view::npos ? "" : field.substr(colon + 1);
    field = field.substr(0, colon);
    char conversion = '\0';
    if (const std::size_t mark = field.find('!'); mark != std::string_view::npos) {
      if (mark + 2 != field.size() || !is_one_of(field[mark + 1], "sr")) fail_value("format() knows !s and !r only");
      conversion = field[mark + 1];
      field = field.substr(0, mark);
    }
    result_ += format_value(find_value(field), conversion, read_field(pattern));
  }

  // 0.name[key]
  Value find_value(std::string_view path) {
    const std::size_t end = path.find_first_of(".[");
    Value value = find_first(path.substr(0, end));
    if (end == std::string_view::npos) return value;
    path.remove_prefix(end);
    while (!path.empty()) {
      if (path[0] == '.') {
        const std::size_t next = path.find_first_of(".[", 1);
        value = get_attribute(rendering_, value, path.substr(1, next == std::string_view::npos ? next : next - 1));
        path = next == std::string_view::npos ? "" : path.substr(next);
      } else {
        const std::size_t close = path.find(']');
        if (path[0] != '[' || close == std::string_view::npos) fail_value("format() cannot read a field's name");
        value = get_item(rendering_, value, key_of_field(path.substr(1, close - 1)));
        path.remove_prefix(close + 1);
      }
    }
    return value;
  }

  Value key_of_field(std::string_view key) {
    if (!key.empty() && key.find_first_not_of("0123456789") == std::string_view::npos) {
      std::size_t at = 0;
      return Value(std::int64_t{read_count(key, at, std::numeric_limits<int>::max(), "place")});
    }
    return rendering_.text(std::string(key));
  }

  Value find_first(std::string_view name) {
    if (name.empty()) return positional(counted_++);
    if (name.find_first_not_of("0123456789") == std::string_view::npos) {
      std::size_t at = 0;
      return positional(static_cast<std::size_t>(read_count(name, at, std::numeric_limits<int>::max(), "place")));
    }
    for (const auto& [key, value] : values_.named) {
      rendering_.step();
      if (key == name) return value;
    }
    fail_value(fmt::format("format() has no value for {}", quote_name(name)));
  }

  const Value& positional(std::size_t i) const {
    if (i >= values_.positional.size()) fail_value("format() has fewer values than its text has places");
    return values_.positional[i];
  }

  // [[fill]align][sign][#][0][width][,][.precision][type]
  static Field read_field(std::string_view pattern) {
    Field field;
    std::size_t at = 0;
    if (!pattern.empty()) {
      std::size_t second = 0;
      next_code_point(pattern, second);
      if (second < pattern.size() && is_one_of(pattern[second], "<>^=")) {
        field.fill = std::string(pattern.substr(0, second));
        field.align = pattern[second];
        at = second + 1;
      } else if (is_one_of(pattern[0], "<>^=")) {
        field.align = pattern[0];
        at = 1;
      }
    }
    const auto skip = [&](std::string_view these) {
      return at < pattern.size() && is_one_of(pattern[at], these) ? pattern[at++] : '\0';
    };
    if (const char sign = skip("+- ")) field.sign = sign;
    field.is_alternate = skip("#") != '\0';
    if (skip("0") && !field.align) {
      field.align = '=';
      field.fill = "0";
    }
    if (is_digit_at(pattern, at)) field.width = read_count(pattern, at, kMaxWidth, "width");
    field.groups = skip(",") != '\0';
    if (skip(".")) {
      if (!is_digit_at(pattern, at)) fail_value("format() wants digits behind '.'");
      field.precision = read_count(pattern, at, kMaxPrecision, "precision");
    }
    field.type = skip("sdxXobfFeEgG%");
    if (at != pattern.size()) fail_value(fmt::format("format() cannot read '{}'", pattern));
    return field;
  }

  std::string format_value(const Value& value, char conversion, const Field& field) {
    if (conversion == 'r') return format_plain(field, represent(rendering_, value));
    if (conversion == 's' || !value.is_number() || (value.boolean() && !field.type)) {
      if (field.type && field.type != 's')
        fail_value(fmt::format("format() cannot write {} as '{}'", value.type_name(), field.type));
      return format_plain(field, print(rendering_, value));
    }
    if (field.type == 's') fail_value(fmt::format("format() cannot write {} as 's'", value.type_name()));
    const auto whole = value.whole();
    if (whole && (!field.type || is_one_of(field.type, "dxXob"))) {
      if (field.precision >= 0) fail_value("format() knows no precision of whole numbers");
      return format_whole(field, *whole);
    }
    if (is_one_of(field.type, "dxXob")) fail_value(fmt::format("format() cannot write a float as '{}'", field.type));
    return format_real(field, *value.number());
  }

  Rendering& rendering_;
  std::string_view pattern_;
  const Arguments& values_;
  std::size_t counted_ = 0;
  std::string result_;
};

}  // namespace

std::string format_percent(Rendering& rendering, std::string_view pattern, const Value& values) {
  rendering.step_text(pattern.size());
  return PercentFormatter(rendering, pattern, values).run();
}

std::string format_braces(Rendering& rendering, std::string_view pattern, const Arguments& values) {
  return BraceFormatter(rendering, pattern, values).run();
}

}  // namespace nibble::chat
