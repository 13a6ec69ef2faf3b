// SPDX-License-Identifier: Apache-2.0
#include "model/chat/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/utf8.h"
#include "model/chat/text.h"

namespace nibble::chat {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

// Longest first.
constexpr std::array<std::string_view, 25> kSigns = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                     "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                     ">",  "<",  "=",  ".",  ":",  "|",  ","};

// Every line ends with "\n", and the last line end of the template is not part of it.
std::string normalize_lines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      text += '\n';
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : owned_(normalize_lines(source)), text_(owned_) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) scan_data();
    add(Token::Type::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw SyntaxFault{line_, message}; }

  void add(Token::Type type, std::string text) { tokens_.push_back({type, line_, std::move(text)}); }

  void advance(std::size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  bool looks_at(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  std::size_t skip_space(std::size_t at) const {
    return text_.size() - strip_space(text_.substr(at), Side::left).size();
  }

  // Ends a tag at "%}" or the like: what of the text behind it goes with it.
  void end_tag(std::size_t end, bool strips, bool trims_newline) {
    std::size_t to = end;
    if (strips)
      to = skip_space(end);
    else if (trims_newline && end < text_.size() && text_[end] == '\n')
      ++to;
    starts_line_ = to > 0 && text_[to - 1] == '\n';
    advance(to);
  }

  // The text before a tag, as the tag's sign and the rule for blocks leave it.
  void add_data(std::string_view data, char sign, bool is_variable) {
    if (sign == '-') {
      data = strip_space(data, Side::right);
    } else if (sign != '+' && !is_variable) {
      const std::size_t begin = data.rfind('\n') + 1;
      if ((begin > 0 || starts_line_) && strip_space(data.substr(begin)).empty()) data = data.substr(0, begin);
    }
    if (!data.empty()) add(Token::Type::data, std::string(data));
  }

  void scan_data() {
    const std::size_t begin = at_;
    std::size_t tag = begin;
    for (;; ++tag) {
      tag = text_.find('{', tag);
      if (tag == kNone || tag + 1 >= text_.size()) {
        add(Token::Type::data, std::string(text_.substr(begin)));
        at_ = text_.size();
        return;
      }
      if (const char kind = text_[tag + 1]; kind == '%' || kind == '{' || kind == '#') break;
    }
    const char kind = text_[tag + 1];
    const char sign =
        tag + 2 < text_.size() && (text_[tag + 2] == '-' || text_[tag + 2] == '+') ? text_[tag + 2] : '\0';
    add_data(text_.substr(begin, tag - begin), sign, kind == '{');
    advance(tag + (sign ? 3 : 2));
    if (kind == '#') return skip_comment();
    if (kind == '%' && scan_raw()) return;
    add(kind == '{' ? Token::Type::variable_begin : Token::Type::block_begin, "");
    scan_tag(kind == '{');
  }

  void skip_comment() {
    const std::size_t end = text_.find("#}", at_);
    if (end == kNone) fail("the comment has no end: #}");
    const char sign = end > at_ ? text_[end - 1] : '\0';
    end_tag(end + 2, sign == '-', sign != '+');
  }

  // Whether the block that has just begun is {% raw %}; then everything up to its end is data.
  bool scan_raw() {
    std::size_t at = skip_space(at_);
    if (!text_.substr(at).starts_with("raw")) return false;
    at = skip_space(at + 3);
    const bool strips = text_.substr(at).starts_with("-%}");
    if (!strips && !text_.substr(at).starts_with("%}")) return false;
    end_tag(at + (strips ? 3 : 2), strips, false);
    starts_line_ = at_ > 0 && text_[at_ - 1] == '\n';
    for (std::size_t tag = text_.find("{%", at_); tag != kNone; tag = text_.find("{%", tag + 1))
      if (end_raw(tag)) return true;
    fail("the raw block has no end: {% endraw %}");
  }

  bool end_raw(std::size_t tag) {
    std::size_t at = tag + 2;
    const char sign = at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : '\0';
    at = skip_space(at + (sign ? 1 : 0));
    if (!text_.substr(at).starts_with("endraw")) return false;
    at = skip_space(at + 6);
    const char end_sign = at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : '\0';
    at += end_sign ? 1 : 0;
    if (!text_.substr(at).starts_with("%}")) return false;
    add_data(text_.substr(at_, tag - at_), sign, false);
    end_tag(at + 2, end_sign == '-', end_sign != '+');
    return true;
  }

  bool ends_tag(bool is_variable) {
    if (!open_.empty()) return false;
    const std::string_view close = is_variable ? "}}" : "%}";
    const char sign = looks_at(close) ? '\0' : text_[at_];
    if (sign && (sign != '-' && (is_variable || sign != '+'))) return false;
    const std::size_t begin = at_ + (sign ? 1 : 0);
    if (!text_.substr(begin).starts_with(close)) return false;
    add(is_variable ? Token::Type::variable_end : Token::Type::block_end, "");
    end_tag(begin + 2, sign == '-', !is_variable && sign != '+');
    return true;
  }

  void scan_tag(bool is_variable) {
    open_.clear();
    while (at_ < text_.size()) {
      if (ends_tag(is_variable)) return;
      if (const std::size_t next = skip_space(at_); next != at_)
        advance(next);
      else if (is_digit(text_[at_]))
        scan_number();
      else if (is_name_start(text_[at_]))
        scan_name();
      else if (text_[at_] == '\'' || text_[at_] == '"')
        scan_string();
      else
        scan_sign();
    }
  }

  std::size_t skip_digits(std::size_t at) const {
    while (at < text_.size() &&
           (is_digit(text_[at]) || (text_[at] == '_' && at + 1 < text_.size() && is_digit(text_[at + 1]))))
      ++at;
    return at;
  }

  void add_number(Token::Type type, std::size_t end) {
    std::string digits(text_.substr(at_, end - at_));
    std::erase(digits, '_');
    add(type, std::move(digits));
    at_ = end;
  }

  void scan_number() {
    std::size_t end = skip_digits(at_);
    const bool may_be_real = at_ == 0 || text_[at_ - 1] != '.';  // in "a.0.1" there is none
    bool is_real = false;
    if (may_be_real && end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
      is_real = true;
      end = skip_digits(end + 1);
    }
    if (may_be_real && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
      if (exponent < text_.size() && is_digit(text_[exponent])) {
        is_real = true;
        end = skip_digits(exponent);
      }
    }
    if (is_real) return add_number(Token::Type::real, end);
    scan_whole(end);
  }

  // 0x1f, 0o17, 0b11, and decimal digits, of which a leading zero is a number of its own.
  void scan_whole(std::size_t end) {
    if (text_[at_] == '0' && at_ + 2 < text_.size()) {
      const char base = static_cast<char>(text_[at_ + 1] | 0x20);
      const auto fits = [base](char c) {
        if (base == 'x') return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
        return c >= '0' && c <= (base == 'o' ? '7' : '1');
      };
      if ((base == 'x' || base == 'o' || base == 'b') && fits(text_[at_ + 2])) {
        std::size_t last = at_ + 2;
        while (last < text_.size() &&
               (fits(text_[last]) || (text_[last] == '_' && last + 1 < text_.size() && fits(text_[last + 1]))))
          ++last;
        return add_number(Token::Type::integer, last);
      }
    }
    if (text_[at_] == '0') {
      end = at_;
      while (end < text_.size() && text_[end] == '0') ++end;
    }
    add_number(Token::Type::integer, end);
  }

  void scan_name() {
    std::size_t end = at_;
    while (end < text_.size() && is_name_part(text_[end])) ++end;
    add(Token::Type::name, std::string(text_.substr(at_, end - at_)));
    at_ = end;
  }

  void scan_string() {
    const char quote = text_[at_];
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) fail(fmt::format("a text has no end: {}", quote));
    add(Token::Type::string, unescape(text_.substr(at_ + 1, end - at_ - 1)));
    advance(end + 1);
  }

  std::string unescape(std::string_view quoted) const {
    std::string result;
    for (std::size_t i = 0; i < quoted.size();) {
      if (quoted[i] != '\\') {
        result += quoted[i++];
        continue;
      }
      const char kind = quoted[i + 1];
      i += 2;
      if (kind == 'x' || kind == 'u' || kind == 'U')
        i = append_code(result, quoted, i, kind == 'x' ? 2 : kind == 'u' ? 4 : 8);
      else if (kind >= '0' && kind <= '7')
        i = append_octal(result, quoted, i - 1);
      else
        append_simple(result, kind);
    }
    return result;
  }

  void append_simple(std::string& result, char kind) const {
    static constexpr std::string_view kKinds = "\\'\"abfnrtv";
    static constexpr std::string_view kCharacters = "\\'\"\a\b\f\n\r\t\v";
    if (kind == '\n') return;
    if (kind == 'N') throw SyntaxFault{line_, "\\N{...} is not supported; write the character or \\u", true};
    if (const std::size_t place = kKinds.find(kind); place != kNone)
      result += kCharacters[place];
    else
      result.append({'\\', kind});
  }

  std::size_t append_code(std::string& result, std::string_view quoted, std::size_t at, int digits) const {
    std::uint32_t code = 0;
    for (int i = 0; i < digits; ++i, ++at) {
      const char c = at < quoted.size() ? static_cast<char>(quoted[at] | 0x20) : '\0';
      if (at >= quoted.size() || !(is_digit(quoted[at]) || (c >= 'a' && c <= 'f')))
        fail("a \\x, \\u or \\U has too few digits");
      code = code * 16 + static_cast<std::uint32_t>(is_digit(quoted[at]) ? quoted[at] - '0' : c - 'a' + 10);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) fail("a \\u or \\U names no character");
    append_utf8(result, code);
    return at;
  }

  static std::size_t append_octal(std::string& result, std::string_view quoted, std::size_t at) {
    std::uint32_t code = 0;
    for (int i = 0; i < 3 && at < quoted.size() && quoted[at] >= '0' && quoted[at] <= '7'; ++i, ++at)
      code = code * 8 + static_cast<std::uint32_t>(quoted[at] - '0');
    append_utf8(result, code);
    return at;
  }

  void scan_sign() {
    const auto* sign = std::find_if(kSigns.begin(), kSigns.end(), [this](std::string_view s) { return looks_at(s); });
    if (sign == kSigns.end()) fail(fmt::format("unexpected character at offset {}", at_));
    balance((*sign)[0]);
    add(Token::Type::sign, std::string(*sign));
    at_ += sign->size();
  }

  void balance(char sign) {
    if (sign == '(' || sign == '[' || sign == '{') open_ += sign == '(' ? ')' : static_cast<char>(sign + 2);
    if (sign != ')' && sign != ']' && sign != '}') return;
    if (open_.empty() || open_.back() != sign) fail(fmt::format("unexpected '{}'", sign));
    open_.pop_back();
  }

  std::string owned_;
  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool starts_line_ = true;
  std::string open_;  // what closes the brackets that are open
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (const std::size_t bad = find_invalid_utf8(source); bad != kNone)
    throw SyntaxFault{1, fmt::format("text is not UTF-8 at offset {}", bad)};
  return Lexer(source).run();
}

}  // namespace nibble::chat
