// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "nibble/error.h"

namespace nibble::serve {

namespace {

ByteSet bytes_between(unsigned first, unsigned last) {
  ByteSet bytes;
  for (unsigned byte = first; byte <= last; ++byte) bytes.set(byte);
  return bytes;
}

constexpr std::array<std::pair<char32_t, unsigned>, 4> kLengths = {{{0x7f, 1}, {0x7ff, 2}, {0xffff, 3}, {0x10ffff, 4}}};

// Code points first .. last whose UTF-8 has `length` bytes, of which the last `rest` are still to be written and the
// ones before are in `before`: cut where a byte changes, until each of the rest may be anything between two bytes.
void add_characters(char32_t first, char32_t last, unsigned rest, unsigned length, const GrammarSequence& before,
                    std::vector<GrammarSequence>& sequences) {
  const auto byte_of = [&](char32_t code, unsigned left) {
    const auto bits = static_cast<unsigned>(code >> (6 * (left - 1)));
    if (left < length) return 0x80U | (bits & 0x3fU);
    return length == 1 ? bits : bits | (0xf00U >> length & 0xffU);
  };
  const unsigned low = byte_of(first, rest), high = byte_of(last, rest);
  const auto with = [&](unsigned from, unsigned to) {
    GrammarSequence sequence = before;
    sequence.push_back({.bytes = bytes_between(from, to)});
    return sequence;
  };
  if (rest == 1) return sequences.push_back(with(low, high));
  const char32_t unit = char32_t{1} << (6 * (rest - 1));
  if (low == high) return add_characters(first, last, rest - 1, length, with(low, low), sequences);
  // The first byte's own run, those between, and the last one's.
  char32_t from = first;
  if (first % unit != 0) {
    from = (first / unit + 1) * unit;
    add_characters(first, from - 1, rest - 1, length, with(low, low), sequences);
  }
  char32_t to = last;
  if ((last + 1) % unit != 0) {
    to = last / unit * unit - 1;
    add_characters(to + 1, last, rest - 1, length, with(high, high), sequences);
  }
  if (from <= to)
    add_characters(0, unit - 1, rest - 1, length, with(byte_of(from, rest), byte_of(to, rest)), sequences);
}

}  // namespace

std::int32_t GrammarRules::name(const std::string& name) {
  const auto found = names_.find(name);
  if (found != names_.end()) return found->second;
  return names_[name] = make();
}

std::int32_t GrammarRules::make() {
  alternatives_.emplace_back();
  set_.push_back(false);
  return static_cast<std::int32_t>(alternatives_.size() - 1);
}

void GrammarRules::set(std::int32_t rule, std::vector<GrammarSequence> alternatives) {
  for (const GrammarSequence& sequence : alternatives) symbols_ += sequence.size() + 1;
  alternatives_[static_cast<std::size_t>(rule)] = std::move(alternatives);
  set_[static_cast<std::size_t>(rule)] = true;
}

GrammarSequence GrammarRules::text(std::string_view text) {
  GrammarSequence sequence;
  for (const char c : text) {
    GrammarSymbol symbol;
    symbol.bytes.set(static_cast<unsigned char>(c));
    sequence.push_back(symbol);
  }
  return sequence;
}

std::vector<GrammarSequence> GrammarRules::characters(char32_t first, char32_t last) {
  std::vector<GrammarSequence> sequences;
  char32_t least = 0;
  for (const auto& [most, length] : kLengths) {
    const char32_t from = std::max(first, least), to = std::min(last, most);
    if (from <= to) add_characters(from, to, length, length, {}, sequences);
    least = most + 1;
  }
  return sequences;
}

// Written out up to `most`, each further one optional within the one before.
std::int32_t GrammarRules::repeat(const GrammarSequence& what, std::size_t least, std::size_t most) {
  std::int32_t rest = make();
  if (most == SIZE_MAX) {
    GrammarSequence again = what;
    again.push_back(use(rest));
    set(rest, {std::move(again), {}});
  } else {
    set(rest, {{}});
    for (std::size_t i = least; i < most; ++i) {
      GrammarSequence once = what;
      once.push_back(use(rest));
      rest = make();
      set(rest, {std::move(once), {}});
    }
  }
  const std::int32_t rule = make();
  GrammarSequence whole;
  for (std::size_t i = 0; i < least; ++i) whole.insert(whole.end(), what.begin(), what.end());
  whole.push_back(use(rest));
  set(rule, {std::move(whole)});
  return rule;
}

std::int32_t GrammarRules::take(const GrammarRules& other) {
  const auto offset = static_cast<std::int32_t>(size());
  for (std::size_t rule = 0; rule < other.size(); ++rule) {
    std::vector<GrammarSequence> alternatives = other.alternatives_[rule];
    for (GrammarSequence& sequence : alternatives)
      for (GrammarSymbol& symbol : sequence)
        if (symbol.rule >= 0) symbol.rule += offset;
    const std::int32_t made = make();
    if (other.set_[rule]) set(made, std::move(alternatives));
  }
  return other.root() + offset;
}

void GrammarRules::judge() const {
  for (const auto& [name, rule] : names_)
    if (!is_set(rule)) throw Error(ErrorKind::unusable_input, fmt::format("the grammar has no rule '{}'", name));
  const auto name_of = [&](std::int32_t rule) {
    for (const auto& [name, number] : names_)
      if (number == rule) return name;
    return fmt::format("number {}", rule);
  };
  // Rules that may be empty, until no more are found.
  std::vector<bool> empty(size(), false);
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t rule = 0; rule < size(); ++rule) {
      if (empty[rule]) continue;
      const bool may = std::ranges::any_of(alternatives_[rule], [&](const GrammarSequence& sequence) {
        return std::ranges::all_of(sequence, [&](const GrammarSymbol& symbol) {
          return symbol.rule >= 0 && empty[static_cast<std::size_t>(symbol.rule)];
        });
      });
      if (may) empty[rule] = changed = true;
    }
  }
  // Whether a rule comes to itself before a byte has come: depth first, without recursion.
  enum : char { kNew, kOpen, kDone };
  std::vector<char> seen(size(), kNew);
  std::vector<std::pair<std::int32_t, bool>> stack;
  for (std::size_t begin = 0; begin < size(); ++begin) {
    stack.emplace_back(static_cast<std::int32_t>(begin), false);
    while (!stack.empty()) {
      const auto [rule, is_left] = stack.back();
      stack.pop_back();
      char& state = seen[static_cast<std::size_t>(rule)];
      if (is_left) {
        state = kDone;
        continue;
      }
      if (state == kOpen)
        throw Error(ErrorKind::unusable_input,
                    fmt::format("a rule of the grammar begins with itself, so that no text gets behind it: '{}'",
                                name_of(rule)));
      if (state == kDone) continue;
      state = kOpen;
      stack.emplace_back(rule, true);
      for (const GrammarSequence& sequence : alternatives_[static_cast<std::size_t>(rule)])
        for (const GrammarSymbol& symbol : sequence) {
          if (symbol.rule < 0) break;
          // One that is open is met again here, on its own way.
          if (seen[static_cast<std::size_t>(symbol.rule)] != kDone) stack.emplace_back(symbol.rule, false);
          if (!empty[static_cast<std::size_t>(symbol.rule)]) break;
        }
    }
  }
}

GrammarMachine::GrammarMachine(GrammarRules rules)
    : GrammarMachine(std::make_shared<const GrammarRules>(std::move(rules))) {}

GrammarMachine::GrammarMachine(std::shared_ptr<const GrammarRules> rules) : rules_(std::move(rules)) {
  rules_->judge();
  Places places;
  for (std::size_t i = 0; i < rules_->alternatives(rules_->root()).size(); ++i)
    add_places(rules_->root(), static_cast<std::int32_t>(i), 0, kEnd, places);
  begin_ = state_of(std::move(places));
}

const GrammarSequence& GrammarMachine::sequence_of(const Node& node) const {
  return rules_->alternatives(node.rule)[static_cast<std::size_t>(node.alternative)];
}

std::int32_t GrammarMachine::node(const Node& node) {
  const auto found = known_nodes_.find(node);
  if (found != known_nodes_.end()) return found->second;
  if (nodes_.size() >= kMostNodes) throw Error(ErrorKind::resource, "the text nests too deeply for its grammar");
  nodes_.push_back(node);
  return known_nodes_[node] = static_cast<std::int32_t>(nodes_.size() - 1);
}

// Where a text stands when an alternative from `at` on is to come, then what is below: before every byte that may be
// the next one.
void GrammarMachine::add_places(std::int32_t rule, std::int32_t alternative, std::int32_t at, std::int32_t below,
                                Places& places) {
  std::vector<Node> open = {{rule, alternative, at, below}};
  while (!open.empty()) {
    const Node here = open.back();
    open.pop_back();
    const GrammarSequence& sequence = sequence_of(here);
    if (static_cast<std::size_t>(here.at) == sequence.size()) {
      if (here.below == kEnd)
        places.push_back(kEnd);
      else
        open.push_back(nodes_[static_cast<std::size_t>(here.below)]);
      continue;
    }
    const GrammarSymbol& symbol = sequence[static_cast<std::size_t>(here.at)];
    if (symbol.rule < 0) {
      places.push_back(node(here));
    } else {
      // Nothing is kept of a sequence that is at its end.
      const bool is_last = static_cast<std::size_t>(here.at) + 1 == sequence.size();
      const std::int32_t rest = is_last ? here.below : node({here.rule, here.alternative, here.at + 1, here.below});
      for (std::size_t i = 0; i < rules_->alternatives(symbol.rule).size(); ++i)
        open.push_back({symbol.rule, static_cast<std::int32_t>(i), 0, rest});
    }
    if (places.size() + open.size() > kMostPlaces)
      throw Error(ErrorKind::resource, "the grammar leaves too much open at once");
  }
}

GrammarMachine::State GrammarMachine::state_of(Places places) {
  std::ranges::sort(places);
  places.erase(std::unique(places.begin(), places.end()), places.end());
  if (places.empty()) return kDead;
  const auto found = known_states_.find(places);
  if (found != known_states_.end()) return found->second;
  if (states_.size() >= kMostStates) throw Error(ErrorKind::resource, "the text is too intricate for its grammar");
  const auto number = static_cast<State>(states_.size());
  states_.push_back({places, places.front() == kEnd, std::vector<State>(256, kUnknown)});
  known_states_.emplace(std::move(places), number);
  return number;
}

GrammarMachine::State GrammarMachine::next(State state, unsigned char byte) {
  if (state == kDead) return kDead;
  if (const State known = states_[static_cast<std::size_t>(state)].next[byte]; known != kUnknown) return known;
  Places places;
  const Places from = states_[static_cast<std::size_t>(state)].places;
  for (const std::int32_t place : from) {
    if (place == kEnd) continue;
    const Node here = nodes_[static_cast<std::size_t>(place)];
    if (sequence_of(here)[static_cast<std::size_t>(here.at)].bytes.test(byte))
      add_places(here.rule, here.alternative, here.at + 1, here.below, places);
  }
  const State found = state_of(std::move(places));
  states_[static_cast<std::size_t>(state)].next[byte] = found;
  return found;
}

GrammarMachine::State GrammarMachine::next(State state, std::string_view bytes) {
  for (const char c : bytes) {
    if (state == kDead) return kDead;
    state = next(state, static_cast<unsigned char>(c));
  }
  return state;
}

}  // namespace nibble::serve
