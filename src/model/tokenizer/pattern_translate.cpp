// SPDX-License-Identifier: Apache-2.0
//
// From Oniguruma's spelling to PCRE2's. What both spell alike passes through.
#include <fmt/format.h>

#include <cstdint>

#include "base/utf8.h"
#include "model/tokenizer/pattern.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

// Unicode White_Space. PCRE2's own \s also takes U+180E.
constexpr std::string_view kSpace =
    "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
// Alphabetic, marks, decimal digits and connectors. The ranges are the circled and squared letters: symbols that count
// as alphabetic.
constexpr std::string_view kWord =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{"
    "1F189}";
constexpr std::string_view kHexDigit = "0-9A-Fa-f";

class Translator {
 public:
  Translator(std::string_view regex, const std::string& place) : regex_(regex), place_(place) {}

  std::string run() {
    while (at_ < regex_.size()) {
      const char c = regex_[at_];
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        bracket();
      } else {
        out_.push_back(c);
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: this regular expression uses {} at offset {}: '{}'", place_, what, at_, regex_));
  }

  void set(std::string_view members, bool negated, bool in_class) {
    if (!in_class) {
      out_ += negated ? "[^" : "[";
      out_ += members;
      out_ += ']';
    } else if (!negated) {
      out_ += members;
    } else {
      refuse("a negated shorthand inside a character class, which has no equal here,");
    }
    at_ += 2;
  }

  void escape(bool in_class) {
    if (at_ + 1 >= regex_.size()) refuse("a backslash with nothing behind it");
    const char c = regex_[at_ + 1];
    switch (c) {
      case 's':
        return set(kSpace, false, in_class);
      case 'S':
        if (!in_class) return set(kSpace, true, in_class);
        break;  // inside a class PCRE2's own; it differs for U+180E only
      case 'w':
        return set(kWord, false, in_class);
      case 'W':
        return set(kWord, true, in_class);
      case 'h':
        return set(kHexDigit, false, in_class);
      case 'H':
        return set(kHexDigit, true, in_class);
      case 'u': {
        const auto digits = regex_.substr(at_ + 2, 4);
        if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
          refuse("\\u without four hexadecimal digits");
        out_ += fmt::format("\\x{{{}}}", digits);
        at_ += 6;
        return;
      }
      case 'b':
        if (in_class) break;  // a backspace
        out_ += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kWord);
        at_ += 2;
        return;
      case 'B':
        if (in_class) break;
        out_ += fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", kWord);
        at_ += 2;
        return;
      case 'K':
      case 'C':
        refuse("an escape that is not allowed in a split rule");
      default:
        break;
    }
    out_.append(regex_.substr(at_, 2));
    at_ += 2;
    if (c == 'p' || c == 'P' || c == 'x') copy_braces();
  }

  void copy_braces() {
    if (at_ >= regex_.size() || regex_[at_] != '{') return;
    const std::size_t close = regex_.find('}', at_);
    if (close == std::string_view::npos) refuse("an unclosed brace");
    std::string_view name = regex_.substr(at_ + 1, close - at_ - 1);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    // A script means its own characters; PCRE2 takes a bare name for those that it shares with others, too.
    out_ += fmt::format("{{{}{}{}}}", negated ? "^" : "", is_script(name) ? "sc:" : "", name);
    at_ = close + 1;
  }

  void bracket() {
    const std::size_t begin = out_.size();
    out_.push_back('[');
    ++at_;
    if (at_ < regex_.size() && regex_[at_] == '^') {
      out_.push_back('^');
      ++at_;
    }
    for (bool first = true; at_ < regex_.size(); first = false) {
      const char c = regex_[at_];
      if (c == '\\') {
        escape(true);
      } else if (c == ']' && !first) {
        out_.push_back(c);
        ++at_;
        return;
      } else if (c == '[') {
        nested_bracket();
      } else if (regex_.substr(at_, 2) == "&&") {
        return intersect(begin);
      } else {
        out_.push_back(c);
        ++at_;
      }
    }
    refuse("an unclosed character class");
  }

  // [A&&[B]]. What has been written of A begins at `begin`.
  void intersect(std::size_t begin) {
    constexpr std::string_view kWhat =
        "an intersection of character classes (&&) that is neither [A&&[B]] nor [A&&[^B]],";
    const std::string members = out_.substr(begin) + "]";
    if (members.starts_with("[^") || regex_.substr(at_, 3) != "&&[") refuse(kWhat);
    out_.resize(begin);
    at_ += 2;
    bracket();
    const std::string other = out_.substr(begin);
    if (at_ >= regex_.size() || regex_[at_] != ']') refuse(kWhat);
    ++at_;
    out_.resize(begin);
    out_ += class_of("(?:(?=" + other + ")" + members + ")+");
  }

  // The characters that an expression's matches consist of, as one class: a repeated class takes no memory for each
  // character that it has passed, a repeated group does.
  std::string class_of(const std::string& expression) const {
    std::string all;
    for (char32_t c = 0; c < 0x110000; ++c)
      if (c < 0xD800 || c > 0xDFFF) append_utf8(all, c);
    const Pattern pattern = Pattern::regex(expression, place_);
    std::string ranges;
    PatternScan scan(pattern);
    scan.each(all, [&](std::size_t first, std::size_t end) {
      std::size_t last = end - 1;
      while ((static_cast<unsigned char>(all[last]) & 0xC0) == 0x80) --last;
      ranges += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", static_cast<std::uint32_t>(next_code_point(all, first)),
                            static_cast<std::uint32_t>(next_code_point(all, last)));
    });
    return ranges.empty() ? "(?!)" : "[" + ranges + "]";
  }

  // [:alpha:] is spelt alike in both; a class within a class is not.
  void nested_bracket() {
    if (regex_.substr(at_, 2) != "[:") refuse("a character class inside another, which is not supported,");
    const std::size_t close = regex_.find(":]", at_);
    if (close == std::string_view::npos) refuse("an unclosed [: :]");
    out_.append(regex_.substr(at_, close + 2 - at_));
    at_ = close + 2;
  }

  std::string_view regex_;
  const std::string& place_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_regex(std::string_view regex, const std::string& place) { return Translator(regex, place).run(); }

}  // namespace nibble::tokenizing
