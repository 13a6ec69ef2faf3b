// SPDX-License-Identifier: Apache-2.0
//
// A context-free grammar over bytes, and where in it a text stands.
//
//   GrammarRules rules;
//   rules.set(rules.name("root"), {{rules.text("yes")}, {rules.text("no")}});
//   GrammarMachine machine(std::move(rules));
//   GrammarMachine::State state = machine.begin();
//   state = machine.next(state, 'y');      // kDead: no text of the grammar goes on so
//
// A text stands at a set of places, each a stack of what is still to come of the rules around it. Sets that were met
// before are states of an automaton that is built as it is walked (Thompson 1968, with stacks in place of positions),
// so that a text in a place like an earlier one costs a look-up a byte.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nibble::serve {

using ByteSet = std::bitset<256>;

// A byte of a set, or what another rule stands for.
struct GrammarSymbol {
  ByteSet bytes;
  std::int32_t rule = -1;  // -1: a byte
};
using GrammarSequence = std::vector<GrammarSymbol>;

class GrammarRules {
 public:
  // Of grammars that are asked for; about 50 bytes each.
  static constexpr std::size_t kMostSymbols = std::size_t{1} << 18U;

  // The rule of this name, made when it is first named.
  std::int32_t name(const std::string& name);
  std::int32_t make();  // without a name
  void set(std::int32_t rule, std::vector<GrammarSequence> alternatives);
  bool is_set(std::int32_t rule) const { return set_[static_cast<std::size_t>(rule)]; }
  void set_root(std::int32_t rule) { root_ = rule; }

  static GrammarSequence text(std::string_view text);
  static GrammarSymbol use(std::int32_t rule) { return {.bytes = {}, .rule = rule}; }
  // A character between two code points, as UTF-8: alternatives of byte sequences.
  static std::vector<GrammarSequence> characters(char32_t first, char32_t last);
  // `least` to `most` times; most: SIZE_MAX: any number. A rule for it.
  std::int32_t repeat(const GrammarSequence& what, std::size_t least, std::size_t most);
  // Another's rules, without their names; the rule that its root has become.
  std::int32_t take(const GrammarRules& other);

  std::int32_t root() const noexcept { return root_; }
  std::size_t size() const noexcept { return alternatives_.size(); }
  std::size_t symbols() const noexcept { return symbols_; }  // of all rules
  std::span<const GrammarSequence> alternatives(std::int32_t rule) const {
    return alternatives_[static_cast<std::size_t>(rule)];
  }
  const std::map<std::string, std::int32_t>& names() const noexcept { return names_; }

  // Error(unusable_input): a rule that is named and not there, or begins with itself, which no text would ever get
  // behind.
  void judge() const;

 private:
  std::map<std::string, std::int32_t> names_;
  std::vector<std::vector<GrammarSequence>> alternatives_;
  std::vector<bool> set_;
  std::int32_t root_ = 0;
  std::size_t symbols_ = 0;
};

// One thread at a time.
class GrammarMachine {
 public:
  using State = std::int32_t;
  static constexpr State kDead = -1;
  // More states, or deeper stacks, are Error(resource): a text that needs them is no answer.
  static constexpr std::size_t kMostStates = 1U << 14U, kMostNodes = 1U << 20U, kMostPlaces = 1U << 10U;

  // Errors as GrammarRules::judge's.
  explicit GrammarMachine(GrammarRules rules);
  // Rules of several texts, which are not null.
  explicit GrammarMachine(std::shared_ptr<const GrammarRules> rules);

  State begin() const noexcept { return begin_; }
  State next(State state, unsigned char byte);
  State next(State state, std::string_view bytes);
  // Whether a text may end here.
  bool is_complete(State state) const noexcept { return states_[static_cast<std::size_t>(state)].is_complete; }
  std::size_t num_states() const noexcept { return states_.size(); }

 private:
  // What is still to come: of an alternative from `at` on, then of the node below.
  struct Node {
    std::int32_t rule, alternative, at, below;
    auto operator<=>(const Node&) const = default;
  };
  static constexpr std::int32_t kEnd = -1;  // below the last node; as a place: the text may end
  using Places = std::vector<std::int32_t>;
  struct Facts {
    Places places;
    bool is_complete = false;
    std::vector<State> next;  // by byte; kUnknown
  };
  static constexpr State kUnknown = -2;

  const GrammarSequence& sequence_of(const Node& node) const;
  std::int32_t node(const Node& node);
  void add_places(std::int32_t rule, std::int32_t alternative, std::int32_t at, std::int32_t below, Places& places);
  State state_of(Places places);

  std::shared_ptr<const GrammarRules> rules_;
  std::vector<Node> nodes_;
  std::map<Node, std::int32_t> known_nodes_;
  std::vector<Facts> states_;
  std::map<Places, State> known_states_;
  State begin_ = 0;
};

}  // namespace nibble::serve
