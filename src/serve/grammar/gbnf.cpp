// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/gbnf.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "nibble/error.h"

namespace nibble::serve {

namespace {

constexpr std::size_t kMostBytes = 1U << 18U, kMostRepeats = 2000, kMostDepth = 64;
constexpr char32_t kLastCharacter = 0x10ffff;

class GbnfReader {
 public:
  explicit GbnfReader(std::string_view text) : text_(text) {}

  GrammarRules read() {
    if (text_.size() > kMostBytes) fail(fmt::format("a grammar has at most {} bytes", kMostBytes));
    if (find_invalid_utf8(text_) != std::string_view::npos) fail("the grammar is not UTF-8");
    skip_blanks(true);
    while (at_ < text_.size()) read_rule();
    if (!rules_.names().contains("root")) fail("there is no rule 'root'");
    rules_.set_root(rules_.name("root"));
    rules_.judge();
    return std::move(rules_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    throw Error(ErrorKind::unusable_input, fmt::format("grammar: line {}: {}", line, what));
  }
  bool is_at(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  bool take(std::string_view what) {
    if (!is_at(what)) return false;
    at_ += what.size();
    return true;
  }
  void skip_blanks(bool lines_too) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#')
        at_ = std::min(text_.find_first_of("\r\n", at_), text_.size());
      else if (c == ' ' || c == '\t' || (lines_too && (c == '\n' || c == '\r')))
        ++at_;
      else
        return;
    }
  }
  std::string read_name() {
    const std::size_t begin = at_;
    const auto is_part = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    };
    while (at_ < text_.size() && is_part(text_[at_])) ++at_;
    if (begin == at_) fail("a name is expected");
    return std::string(text_.substr(begin, at_ - begin));
  }

  void read_rule() {
    const std::string name = read_name();
    skip_blanks(false);
    if (!take("::=")) fail(fmt::format("'::=' is expected behind the name '{}'", name));
    skip_blanks(true);
    const std::int32_t rule = rules_.name(name);
    if (rules_.is_set(rule)) fail(fmt::format("the rule '{}' is there twice", name));
    std::vector<GrammarSequence> alternatives = read_alternatives(false, 0);
    rules_.set(rule, std::move(alternatives));
    if (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r')
      fail("the rule goes on with what is none of it");
    skip_blanks(true);
  }

  std::vector<GrammarSequence> read_alternatives(bool in_group, std::size_t depth) {
    if (depth > kMostDepth) fail("groups nest too deeply");
    std::vector<GrammarSequence> alternatives = {read_sequence(in_group, depth)};
    while (take("|")) {
      skip_blanks(true);
      alternatives.push_back(read_sequence(in_group, depth));
    }
    return alternatives;
  }

  GrammarSequence read_sequence(bool in_group, std::size_t depth) {
    GrammarSequence sequence;
    for (;;) {
      GrammarSequence item;
      if (is_at("\"")) {
        item = read_text();
      } else if (is_at("[")) {
        item = {GrammarRules::use(read_class())};
      } else if (take(".")) {
        item = {GrammarRules::use(make(GrammarRules::characters(0, kLastCharacter)))};
      } else if (take("(")) {
        skip_blanks(true);
        item = {GrammarRules::use(make(read_alternatives(true, depth + 1)))};
        if (!take(")")) fail("')' is expected");
      } else if (at_ < text_.size() && std::string_view("|)\r\n").find(text_[at_]) == std::string_view::npos) {
        item = {GrammarRules::use(rules_.name(read_name()))};
      } else {
        return sequence;
      }
      skip_blanks(in_group);
      item = read_repeats(std::move(item), in_group);
      sequence.insert(sequence.end(), item.begin(), item.end());
      if (rules_.symbols() + sequence.size() > GrammarRules::kMostSymbols) fail("the grammar is too large");
    }
  }

  GrammarSequence read_repeats(GrammarSequence item, bool in_group) {
    for (;;) {
      std::size_t least = 0, most = SIZE_MAX;
      if (take("?")) {
        most = 1;
      } else if (take("+")) {
        least = 1;
      } else if (take("{")) {
        least = read_count();
        most = least;
        if (take(",")) most = is_at("}") ? SIZE_MAX : read_count();
        if (!take("}")) fail("'}' is expected");
        if (most < least) fail("a repetition ends before it begins");
      } else if (!take("*")) {
        return item;
      }
      if (item.size() * (least + (most == SIZE_MAX ? 0 : most)) > GrammarRules::kMostSymbols)
        fail("the grammar is too large");
      item = {GrammarRules::use(rules_.repeat(item, least, most))};
      skip_blanks(in_group);
    }
  }
  std::size_t read_count() {
    std::size_t count = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && count <= kMostRepeats)
      count = count * 10 + static_cast<std::size_t>(text_[at_++] - '0');
    if (begin == at_ || count > kMostRepeats) fail(fmt::format("a number of at most {} is expected", kMostRepeats));
    return count;
  }

  char32_t read_character() {
    if (at_ >= text_.size() || text_[at_] == '\n') fail("the text or the class does not end");
    if (text_[at_] != '\\') return next_code_point(text_, at_);
    ++at_;
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return read_hex(2);
      case 'u':
        return read_hex(4);
      case 'U':
        return read_hex(8);
      case '"':
      case '\\':
      case '[':
      case ']':
      case '-':
      case '^':
      case '/':
        return static_cast<char32_t>(c);
      default:
        fail("there is no such escape");
    }
  }
  char32_t read_hex(std::size_t digits) {
    char32_t value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const char c = at_ < text_.size() ? text_[at_++] : '\0';
      const char small = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
      if (!((small >= '0' && small <= '9') || (small >= 'a' && small <= 'f')))
        fail(fmt::format("{} hexadecimal digits are expected", digits));
      value = value * 16 + static_cast<char32_t>(small <= '9' ? small - '0' : small - 'a' + 10);
      if (value > kLastCharacter) fail("there is no such character");
    }
    return value;
  }

  GrammarSequence read_text() {
    ++at_;
    std::string bytes;
    while (!take("\"")) append_utf8(bytes, read_character());
    return GrammarRules::text(bytes);
  }

  std::int32_t read_class() {
    ++at_;
    const bool excludes = take("^");
    std::vector<std::pair<char32_t, char32_t>> ranges;
    while (!take("]")) {
      const char32_t first = read_character();
      char32_t last = first;
      if (is_at("-") && !is_at("-]")) {
        ++at_;
        last = read_character();
      }
      if (last < first) fail("a range ends before it begins");
      ranges.emplace_back(first, last);
    }
    std::ranges::sort(ranges);
    if (excludes) {
      std::vector<std::pair<char32_t, char32_t>> others;
      char32_t next = 0;
      for (const auto& [first, last] : ranges) {
        if (first > next) others.emplace_back(next, first - 1);
        next = std::max(next, static_cast<char32_t>(last + 1));
      }
      if (next <= kLastCharacter) others.emplace_back(next, kLastCharacter);
      ranges = std::move(others);
    }
    std::vector<GrammarSequence> alternatives;
    for (const auto& [first, last] : ranges)
      std::ranges::move(GrammarRules::characters(first, last), std::back_inserter(alternatives));
    return make(std::move(alternatives));
  }

  std::int32_t make(std::vector<GrammarSequence> alternatives) {
    const std::int32_t rule = rules_.make();
    rules_.set(rule, std::move(alternatives));
    return rule;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  GrammarRules rules_;
};

}  // namespace

GrammarRules parse_gbnf(std::string_view text) { return GbnfReader(text).read(); }

}  // namespace nibble::serve
