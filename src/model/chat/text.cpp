// SPDX-License-Identifier: Apache-2.0
#include "model/chat/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/utf8.h"
#include "model/chat/rendering.h"

namespace nibble::chat {
namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::size_t kShort = 16;  // of what is looked for: no search of it is slow

bool starts_code_point(char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; }

// The code point that ends at `end`, and where it begins.
std::pair<char32_t, std::size_t> code_point_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && !starts_code_point(text[begin])) --begin;
  std::size_t offset = begin;
  return {next_code_point(text, offset), begin};
}

template <typename Predicate>
std::string_view strip_where(std::string_view text, Side side, Predicate&& goes) {
  std::size_t begin = 0, end = text.size();
  while (side != Side::right && begin < end) {
    std::size_t next = begin;
    if (!goes(next_code_point(text, next))) break;
    begin = next;
  }
  while (side != Side::left && begin < end) {
    const auto [c, start] = code_point_before(text, end);
    if (!goes(c)) break;
    end = start;
  }
  return text.substr(begin, end - begin);
}

// Knuth, Morris and Pratt: a hostile needle costs no more than its length.
std::size_t find_long(std::string_view text, std::string_view what, std::size_t begin) {
  std::vector<std::size_t> border(what.size(), 0);
  for (std::size_t i = 1, k = 0; i < what.size(); ++i) {
    while (k > 0 && what[i] != what[k]) k = border[k - 1];
    if (what[i] == what[k]) ++k;
    border[i] = k;
  }
  for (std::size_t i = begin, k = 0; i < text.size(); ++i) {
    while (k > 0 && text[i] != what[k]) k = border[k - 1];
    if (text[i] == what[k]) ++k;
    if (k == what.size()) return i + 1 - k;
  }
  return kNone;
}

}  // namespace

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_code_point));
}

std::string_view take_code_point(std::string_view text, std::size_t& at) {
  const std::size_t begin = at;
  next_code_point(text, at);
  return text.substr(begin, at - begin);
}

std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> points;
  for (std::size_t at = 0; at < text.size();) points.push_back(take_code_point(text, at));
  return points;
}

std::string_view slice_text(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t first = text.size(), last = text.size(), count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!starts_code_point(text[i])) continue;
    if (count == begin) first = i;
    if (count == end) {
      last = i;
      break;
    }
    ++count;
  }
  return first < last ? text.substr(first, last - first) : std::string_view{};
}

std::string_view strip_space(std::string_view text, Side side) { return strip_where(text, side, is_space); }

void pay_for_stripping(Rendering& rendering, std::string_view which) {
  rendering.step(which.size());
  rendering.expect_room(which.size(), sizeof(char32_t));
}

std::string_view strip_of(std::string_view text, std::string_view which, Side side) {
  std::u32string set;
  set.reserve(count_code_points(which));
  for (std::size_t offset = 0; offset < which.size();) set += next_code_point(which, offset);
  std::sort(set.begin(), set.end());
  return strip_where(text, side, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::size_t find_text(std::string_view text, std::string_view what, std::size_t begin) {
  if (begin > text.size() || what.size() > text.size() - begin) return kNone;
  if (what.size() <= kShort) return text.find(what, begin);
  return find_long(text, what, begin);
}

void expect_search(const Rendering& rendering, std::string_view what) {
  if (what.size() > kShort) rendering.expect_room(what.size(), sizeof(std::size_t));
}

std::string replace_text(std::string_view text, std::string_view what, std::string_view by, std::int64_t most) {
  std::string result;
  std::size_t at = 0;
  for (; most != 0; --most) {
    std::size_t found = find_text(text, what, at);
    if (found == kNone) break;
    if (what.empty()) {  // between all code points, and at both ends
      result += by;
      if (at == text.size()) return result;
      std::size_t next = at;
      next_code_point(text, next);
      result += text.substr(at, next - at);
      at = next;
      continue;
    }
    result += text.substr(at, found - at);
    result += by;
    at = found + what.size();
  }
  result += text.substr(at);
  return result;
}

void split_text(std::string_view text, std::string_view separator, std::int64_t most, const TakePart& take) {
  std::size_t at = 0;
  for (; most != 0; --most) {
    const std::size_t found = find_text(text, separator, at);
    if (found == kNone) break;
    take(text.substr(at, found - at));
    at = found + separator.size();
  }
  take(text.substr(at));
}

void split_text_from_right(std::string_view text, std::string_view separator, std::int64_t most, const TakePart& take) {
  std::size_t end = text.size();
  for (; most != 0 && end >= separator.size(); --most) {
    const std::size_t found = text.substr(0, end).rfind(separator);
    if (found == kNone) break;
    take(text.substr(found + separator.size(), end - found - separator.size()));
    end = found;
  }
  take(text.substr(0, end));
}

void split_space(std::string_view text, std::int64_t most, const TakePart& take) {
  text = strip_space(text, Side::left);
  while (!text.empty()) {
    if (most-- == 0) {
      take(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      std::size_t next = end;
      if (is_space(next_code_point(text, next))) break;
      end = next;
    }
    take(text.substr(0, end));
    text = strip_space(text.substr(end), Side::left);
  }
}

void split_space_from_right(std::string_view text, std::int64_t most, const TakePart& take) {
  text = strip_space(text, Side::right);
  while (!text.empty()) {
    if (most-- == 0) {
      take(text);
      break;
    }
    std::size_t begin = text.size();
    while (begin > 0) {
      const auto [c, start] = code_point_before(text, begin);
      if (is_space(c)) break;
      begin = start;
    }
    take(text.substr(begin));
    text = strip_space(text.substr(0, begin), Side::right);
  }
}

void split_lines(std::string_view text, bool keeps_ends, const TakePart& take) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t next = at;
    const char32_t c = next_code_point(text, next);
    const bool ends = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (ends) {
      if (c == '\r' && next < text.size() && text[next] == '\n') ++next;
      take(text.substr(begin, (keeps_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) take(text.substr(begin));
}

namespace {

bool is_cased(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

char32_t lower_of(char32_t c) { return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))); }

void append_upper(std::string& text, char32_t c) {
  if (c == 0xdf)
    text += "SS";
  else
    append_utf8(text, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void append_title(std::string& text, char32_t c) {
  if (c == 0xdf)
    text += "Ss";
  else
    append_utf8(text, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
}

bool is_upper_case(char32_t c) { return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0; }
bool is_lower_case(char32_t c) { return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0; }

}  // namespace

std::string to_upper(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) append_upper(result, next_code_point(text, at));
  return result;
}

std::string to_lower(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) append_utf8(result, lower_of(next_code_point(text, at)));
  return result;
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  std::string result;
  std::size_t at = 0;
  append_title(result, next_code_point(text, at));
  return result + to_lower(text.substr(at));
}

std::string swap_case(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (is_upper_case(c))
      append_utf8(result, lower_of(c));
    else
      append_upper(result, c);
  }
  return result;
}

std::string to_title(std::string_view text) {
  std::string result;
  bool follows_letter = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (follows_letter)
      append_utf8(result, lower_of(c));
    else
      append_title(result, c);
    follows_letter = is_cased(c);
  }
  return result;
}

namespace {

bool is_one_of(char32_t c, Letters which) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  const bool is_decimal = category == UTF8PROC_CATEGORY_ND;
  const bool is_letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
  const bool is_number = is_decimal || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
  switch (which) {
    case Letters::alpha:
      return is_letter;
    case Letters::alnum:
      return is_letter || is_number;
    case Letters::numeric:
      return is_number;
    case Letters::digit:  // superscripts and subscripts, too
      return is_decimal || c == 0xb2 || c == 0xb3 || c == 0xb9 || (c >= 0x2070 && c <= 0x2089 && is_number);
    case Letters::decimal:
      return is_decimal;
    default:
      return is_space(c);
  }
}

}  // namespace

bool consists_of(std::string_view text, Letters which) {
  const bool asks_case = which == Letters::lower || which == Letters::upper;
  bool has_any = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (!asks_case) {
      if (!is_one_of(c, which)) return false;
      has_any = true;
    } else if (is_upper_case(c) || is_lower_case(c)) {
      if (is_upper_case(c) != (which == Letters::upper)) return false;
      has_any = true;
    }
  }
  return has_any;
}

std::string escape_html(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&#34;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

namespace {

// Of digits that are no zeros: whether they stand for less than 1.
bool is_below_one(std::string_view digits) {
  constexpr std::int64_t kFar = std::int64_t{1} << 40;  // beyond what the places of any text make up for
  const std::size_t mark = std::min(digits.find_first_of("eE"), digits.size());
  const std::size_t point = std::min(digits.find('.'), mark);
  const std::size_t first = digits.find_first_of("123456789");
  std::int64_t exponent = 0;
  if (mark < digits.size()) {
    std::string_view text = digits.substr(mark + 1);
    if (text.starts_with('+')) text.remove_prefix(1);
    if (std::from_chars(text.data(), text.data() + text.size(), exponent).ec == std::errc::result_out_of_range)
      exponent = text.starts_with('-') ? -kFar : kFar;
  }
  const auto places = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first);
  return std::clamp(exponent, -kFar, kFar) + places <= 0;
}

}  // namespace

std::optional<double> read_decimal(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.starts_with('-')) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) value = is_below_one(text) ? 0 : std::numeric_limits<double>::infinity();
  return is_negative ? -value : value;
}

}  // namespace nibble::chat
