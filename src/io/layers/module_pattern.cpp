// SPDX-License-Identifier: Apache-2.0
#include "io/layers/module_pattern.h"

#include <fmt/format.h>

#include <bitset>
#include <cctype>
#include <limits>
#include <vector>

#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {

struct PatternNode {
  enum class Kind { character, begin, end, sequence, choice, repeat, look };
  Kind kind = Kind::sequence;
  std::bitset<256> characters{};        // character: those that it takes
  std::vector<PatternNode> children{};  // of repeat and look: one
  unsigned least = 0, most = 0;         // repeat
  bool is_negative = false;             // look
};

namespace {

using Kind = PatternNode::Kind;
using Positions = std::vector<bool>;  // [length + 1]: where what was read so far may end

constexpr std::size_t kMaxLength = 1024, kMaxName = 4096;
constexpr unsigned kMaxDepth = 32, kMaxCount = 1000, kNoEnd = std::numeric_limits<unsigned>::max();
constexpr std::size_t kMaxSteps = 20'000'000;

[[noreturn]] void refuse_expression(std::string_view text, std::string_view key, const std::string& what) {
  throw Error(ErrorKind::unsupported, fmt::format("the expression {} {}{}", quote_name(text), what,
                                                  key.empty() ? std::string() : fmt::format(" ({})", key)));
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view key) : text_(text), key_(key) {}

  PatternNode parse() {
    PatternNode root = choice(0);
    if (at_ < text_.size()) refuse("an unmatched ')'");
    return root;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    refuse_expression(text_, key_, fmt::format("has {} at offset {}, which is not read here", what, at_));
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  char next(std::string_view missing) {
    if (at_ >= text_.size()) refuse(missing);
    return text_[at_++];
  }

  PatternNode choice(unsigned depth) {
    if (depth > kMaxDepth) refuse("groups nested too deep");
    PatternNode node{Kind::choice};
    do node.children.push_back(sequence(depth));
    while (take('|'));
    return node;
  }

  PatternNode sequence(unsigned depth) {
    PatternNode node{Kind::sequence};
    while (at_ < text_.size() && text_[at_] != '|' && text_[at_] != ')') node.children.push_back(repeated(depth));
    return node;
  }

  PatternNode repeated(unsigned depth) {
    PatternNode node = atom(depth);
    unsigned least = 0, most = 0;
    if (!count(least, most)) return node;
    take('?');  // a lazy one matches the same names
    unsigned second = 0;
    if (count(second, second)) refuse("a repetition of a repetition");
    PatternNode repeat{Kind::repeat, {}, {}, least, most};
    repeat.children.push_back(std::move(node));
    return repeat;
  }

  bool count(unsigned& least, unsigned& most) {
    if (take('*')) return least = 0, most = kNoEnd, true;
    if (take('+')) return least = 1, most = kNoEnd, true;
    if (take('?')) return least = 0, most = 1, true;
    if (!take('{')) return false;
    least = number();
    most = least;
    if (take(',')) most = at_ < text_.size() && text_[at_] == '}' ? kNoEnd : number();
    if (!take('}') || most < least) refuse("a count that is none");
    return true;
  }

  unsigned number() {
    unsigned value = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && value <= kMaxCount)
      value = value * 10 + static_cast<unsigned>(text_[at_++] - '0');
    if (at_ == begin || value > kMaxCount) refuse("a count that is none");
    return value;
  }

  PatternNode atom(unsigned depth) {
    PatternNode node{Kind::character};
    const char c = next("an end");
    switch (c) {
      case '.':
        node.characters.set();
        node.characters.reset('\n');
        return node;
      case '^':
        return {Kind::begin};
      case '$':
        return {Kind::end};
      case '(':
        return group(depth);
      case '[':
        node.characters = one_of();
        return node;
      case '\\':
        node.characters = escaped();
        return node;
      case '*':
      case '+':
      case '?':
      case '{':
        --at_;
        refuse("a repetition of nothing");
      default:
        node.characters.set(static_cast<unsigned char>(c));
        return node;
    }
  }

  PatternNode group(unsigned depth) {
    PatternNode node{Kind::sequence};
    if (take('?')) {
      const char kind = next("a group without an end");
      if (kind != ':' && kind != '=' && kind != '!') refuse("a group of its own kind");
      if (kind != ':') node.kind = Kind::look;
      node.is_negative = kind == '!';
    }
    node.children.push_back(choice(depth + 1));
    if (!take(')')) refuse("a group without an end");
    return node;
  }

  std::bitset<256> escaped() {
    std::bitset<256> set;
    const char c = next("a lone backslash");
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) return set.set(static_cast<unsigned char>(c));
    if (lower != 'd' && lower != 'w' && lower != 's') refuse("an escape");
    for (unsigned i = 0; i < 128; ++i) {
      const auto ch = static_cast<int>(i);
      const bool is_in = lower == 'd'   ? std::isdigit(ch) != 0
                         : lower == 's' ? std::isspace(ch) != 0
                                        : std::isalnum(ch) != 0 || i == '_';
      set.set(i, is_in);
    }
    return c == lower ? set : ~set;
  }

  std::bitset<256> one_of() {
    std::bitset<256> set;
    const bool is_negative = take('^');
    bool is_first = true;
    for (;; is_first = false) {
      const char c = next("a class without an end");
      if (c == ']' && !is_first) break;
      if (c == '\\') {
        set |= escaped();
        continue;
      }
      unsigned from = static_cast<unsigned char>(c), to = from;
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        ++at_;
        to = static_cast<unsigned char>(next("a class without an end"));
        if (to == '\\' || to < from) refuse("a range that is none");
      }
      for (; from <= to; ++from) set.set(from);
    }
    return is_negative ? ~set : set;
  }

  std::string_view text_, key_;
  std::size_t at_ = 0;
};

class Follower {
 public:
  // begins: where the name begins; expression and key for messages. Borrows all of them.
  Follower(std::string_view name, const Positions& begins, std::string_view expression, std::string_view key)
      : name_(name), begins_(begins), expression_(expression), key_(key) {}

  Positions follow(const PatternNode& node, const Positions& from) {
    steps_ += from.size();
    if (steps_ > kMaxSteps) refuse_expression(expression_, key_, "takes too long to be followed");
    if (!any(from)) return from;
    Positions to(from.size(), false);
    switch (node.kind) {
      case Kind::character:
        for (std::size_t i = 0; i < name_.size(); ++i)
          to[i + 1] = from[i] && node.characters[static_cast<unsigned char>(name_[i])];
        return to;
      case Kind::begin:
        for (std::size_t i = 0; i < from.size(); ++i) to[i] = from[i] && begins_[i];
        return to;
      case Kind::end:
        to.back() = from.back();
        return to;
      case Kind::sequence: {
        Positions now = from;
        for (const PatternNode& child : node.children) now = follow(child, now);
        return now;
      }
      case Kind::choice:
        for (const PatternNode& child : node.children) add(follow(child, from), to);
        return to;
      case Kind::repeat:
        return repeat(node, from);
      case Kind::look:
        for (std::size_t i = 0; i < from.size(); ++i) {
          if (!from[i]) continue;
          Positions here(from.size(), false);
          here[i] = true;
          to[i] = any(follow(node.children.front(), here)) != node.is_negative;
        }
        return to;
    }
    return to;
  }

  static bool any(const Positions& positions) {
    for (const bool is_there : positions)
      if (is_there) return true;
    return false;
  }

 private:
  // True where that adds one.
  static bool add(const Positions& more, Positions& to) {
    bool is_more = false;
    for (std::size_t i = 0; i < to.size(); ++i) {
      is_more = is_more || (more[i] && !to[i]);
      to[i] = to[i] || more[i];
    }
    return is_more;
  }

  Positions repeat(const PatternNode& node, const Positions& from) {
    const PatternNode& child = node.children.front();
    Positions now = from;
    for (unsigned i = 0; i < node.least && any(now); ++i) now = follow(child, now);
    Positions all = now;
    for (unsigned i = node.least; i < node.most && any(now); ++i) {
      now = follow(child, now);
      if (!add(now, all)) break;
    }
    return all;
  }

  std::string_view name_;
  const Positions& begins_;
  std::string_view expression_, key_;
  std::size_t steps_ = 0;
};

}  // namespace

ModulePattern::ModulePattern(std::string_view expression, std::string_view key) : text_(expression), key_(key) {
  if (text_.size() > kMaxLength)
    refuse_expression(text_, key_, fmt::format("is longer than {} characters", kMaxLength));
  root_ = std::make_shared<PatternNode>(Parser(text_, key_).parse());
}

bool ModulePattern::matches(std::string_view name, Begin begin) const {
  if (name.size() > kMaxName) return false;
  Positions begins(name.size() + 1, false);
  begins.front() = true;
  if (begin == Begin::word)
    for (std::size_t i = 0; i < name.size(); ++i) begins[i + 1] = name[i] == '.';
  return Follower::any(Follower(name, begins, text_, key_).follow(*root_, begins));
}

}  // namespace nibble
