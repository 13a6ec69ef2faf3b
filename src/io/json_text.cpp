// SPDX-License-Identifier: Apache-2.0
#include "io/json_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "base/utf8.h"
#include "io/foreign_file.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kUnheldMark = "\"\\u0000";  // how a number that no double holds begins

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Some text that begins with a mark is nobody's number.
bool spells_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text == "NaN" || text == "Infinity") return true;
  return !text.empty() && is_digit(text.front()) && text.find_first_not_of("0123456789.eE+-") == std::string_view::npos;
}

// RFC 8259, and Python's NaN, Infinity and -Infinity. Throws a JsonFault at the first byte that does not fit.
class Scanner {
 public:
  Scanner(std::string_view text, std::string& plain) : text_(text), plain_(plain) {}

  void scan() {
    if (const auto bad = find_invalid_utf8(text_); bad != std::string_view::npos)
      throw JsonFault{bad, "text is not UTF-8"};
    plain_.clear();
    plain_.reserve(text_.size());
    if (text_.starts_with(kByteOrderMark)) at_ = copied_ = kByteOrderMark.size();
    scan_value();
    skip_space();
    if (at_ != text_.size()) refuse();
    copy();
  }

 private:
  [[noreturn]] void refuse() const { throw JsonFault{at_, "text is not JSON"}; }

  char look() const { return at_ < text_.size() ? text_[at_] : '\0'; }  // a zero byte fits nowhere

  void expect(char c) {
    if (at_ == text_.size() || text_[at_] != c) refuse();
    ++at_;
  }

  void expect_word(std::string_view word) {
    for (const char c : word) expect(c);
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  // What has been read is part of the result as it stands.
  void copy() {
    plain_.append(text_, copied_, at_ - copied_);
    copied_ = at_;
  }

  void scan_value() {
    skip_space();
    switch (look()) {
      case '{':
        return scan_object();
      case '[':
        return scan_array();
      case '"':
        return scan_string();
      case 't':
        return expect_word("true");
      case 'f':
        return expect_word("false");
      case 'n':
        return expect_word("null");
      default:
        scan_number();
    }
  }

  void enter() {
    if (keys_.size() == kMaxDepth) throw JsonFault{at_, fmt::format("JSON is nested deeper than {} levels", kMaxDepth)};
    keys_.emplace_back();
    ++at_;
    skip_space();
  }

  void leave() {
    keys_.pop_back();
    ++at_;
  }

  void scan_object() {
    enter();
    while (look() != '}') {
      const std::size_t begin = at_;
      scan_string();
      remember_key(begin);
      skip_space();
      expect(':');
      scan_value();
      if (!next_item('}')) break;
    }
    leave();
  }

  void scan_array() {
    enter();
    while (look() != ']') {
      scan_value();
      if (!next_item(']')) break;
    }
    leave();
  }

  // Whether another item follows; no comma stands before the end.
  bool next_item(char end) {
    skip_space();
    if (look() == end) return false;
    expect(',');
    skip_space();
    if (look() == end) refuse();
    return true;
  }

  void remember_key(std::size_t begin) {
    const std::string_view quoted = text_.substr(begin, at_ - begin);
    std::string key(quoted.substr(1, quoted.size() - 2));
    if (key.find('\\') != std::string::npos) key = nlohmann::json::parse(quoted).get<std::string>();
    const auto [place, is_new] = keys_.back().insert(std::move(key));
    if (!is_new) throw JsonFault{begin, fmt::format("JSON has the key {} a second time", quote_name(*place))};
  }

  void scan_string() {
    expect('"');
    while (look() != '"') {
      if (at_ == text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) refuse();
      if (text_[at_++] == '\\') scan_escape();
    }
    ++at_;
  }

  void scan_escape() {
    if (std::string_view("\"\\/bfnrt").find(look()) != std::string_view::npos && at_ < text_.size()) {
      ++at_;
      return;
    }
    const std::uint32_t unit = scan_unit();
    if (unit >= 0xDC00 && unit < 0xE000) refuse();  // the second half of a pair without the first
    if (unit < 0xD800 || unit >= 0xDC00) return;
    expect('\\');
    const std::uint32_t second = scan_unit();
    if (second < 0xDC00 || second >= 0xE000) refuse();
  }

  std::uint32_t scan_unit() {
    expect('u');
    std::uint32_t unit = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = look();
      const int digit = is_digit(c)            ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) refuse();
      unit = unit * 16 + static_cast<std::uint32_t>(digit);
      ++at_;
    }
    return unit;
  }

  void scan_digits() {
    if (!is_digit(look())) refuse();
    while (is_digit(look())) ++at_;
  }

  void scan_number() {
    const std::size_t begin = at_;
    bool is_whole = true;
    if (look() == '-') ++at_;
    if (look() == 'I' || (look() == 'N' && at_ == begin)) {
      expect_word(look() == 'I' ? "Infinity" : "NaN");
      return spell_unheld(begin);
    }
    if (look() == '0')
      ++at_;
    else
      scan_digits();
    if (look() == '.') {
      is_whole = false;
      ++at_;
      scan_digits();
    }
    if (look() == 'e' || look() == 'E') {
      is_whole = false;
      ++at_;
      if (look() == '+' || look() == '-') ++at_;
      scan_digits();
    }
    judge_number(begin, is_whole);
  }

  void judge_number(std::size_t begin, bool is_whole) {
    const std::string_view number = text_.substr(begin, at_ - begin);
    if (is_whole && fits_64_bits(number)) return;
    if (!std::isfinite(std::strtod(std::string(number).c_str(), nullptr))) return spell_unheld(begin);
    if (!is_whole) return;
    copy();
    plain_ += ".0";
  }

  static bool fits_64_bits(std::string_view number) {
    const auto fits = [number](auto value) {
      return std::from_chars(number.data(), number.data() + number.size(), value).ec == std::errc{};
    };
    return number.size() < 19 || (number.front() == '-' ? fits(std::int64_t{}) : fits(std::uint64_t{}));
  }

  void spell_unheld(std::size_t begin) {
    plain_.append(text_, copied_, begin - copied_);
    plain_ += kUnheldMark;
    plain_.append(text_, begin, at_ - begin);
    plain_ += '"';
    copied_ = at_;
  }

  std::string_view text_;
  std::string& plain_;
  std::size_t at_ = 0, copied_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects around this place; an array's are empty
};

}  // namespace

std::optional<JsonFault> judge_json(std::string_view text, std::string& plain) {
  try {
    Scanner(text, plain).scan();
  } catch (const JsonFault& fault) {
    return fault;
  }
  return std::nullopt;
}

std::string plain_json(std::string_view text, const std::string& source) {
  std::string plain;
  if (const auto fault = judge_json(text, plain)) {
    const auto foreign = describe_foreign_text(text);
    throw Error(ErrorKind::corrupt, fmt::format("{}: {} at offset {}{}", source, fault->what, fault->offset,
                                                foreign ? "; this is " + *foreign : ""));
  }
  return plain;
}

nlohmann::ordered_json parse_json(std::string_view text, const std::string& source) {
  return nlohmann::ordered_json::parse(plain_json(text, source));
}

std::string dump_json(const nlohmann::ordered_json& json, int indent) {
  const std::string text = json.dump(indent);
  std::string result;
  std::size_t copied = 0;
  for (std::size_t begin = text.find('"'); begin != std::string::npos; begin = text.find('"', begin)) {
    std::size_t end = begin + 1;
    while (text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    const std::string_view token = std::string_view(text).substr(begin, end - begin);
    const bool is_key = end + 1 < text.size() && text[end + 1] == ':';
    if (!is_key && token.starts_with(kUnheldMark) && spells_number(token.substr(kUnheldMark.size()))) {
      result.append(text, copied, begin - copied);
      result.append(token.substr(kUnheldMark.size()));
      copied = end + 1;
    }
    begin = end + 1;
  }
  return result.append(text, copied);
}

bool is_unheld_number(std::string_view string) { return string.starts_with('\0') && spells_number(string.substr(1)); }

}  // namespace nibble
