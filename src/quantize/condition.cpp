// SPDX-License-Identifier: Apache-2.0
#include "quantize/condition.h"

#include <charconv>

#include "nibble/error.h"

namespace nibble {

struct Condition::Spelling {
  std::string_view prefix;
  bool has_number;
  Kind kind;
};

const Condition::Spelling* Condition::spellings(std::size_t& count) {
  // Longer prefixes stand before their beginnings.
  static constexpr Spelling kSpellings[] = {
      {"layer<n/", true, Kind::layer_below_share},
      {"layer<", true, Kind::layer_below},
      {"layer in n/8..7n/8", false, Kind::layer_middle},
      {"layer more_bits", false, Kind::more_bits},
      {"gqa>=", true, Kind::gqa},
      {"experts>=", true, Kind::experts_from},
      {"experts=", true, Kind::experts_exactly},
      {"layers=", true, Kind::layers_exactly},
      {"cols%", true, Kind::cols_rest},
      {"importance", false, Kind::importance},
      {"no importance", false, Kind::no_importance},
      {"tied", false, Kind::tied},
      {"stacked", false, Kind::stacked},
  };
  count = std::size(kSpellings);
  return kSpellings;
}

Condition Condition::parse(std::string_view text) {
  Condition condition;
  std::size_t count = 0;
  const Spelling* const known = spellings(count);
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    if (word.empty()) continue;
    bool found = false;
    for (std::size_t i = 0; i < count && !found; ++i) {
      if (!word.starts_with(known[i].prefix)) continue;
      const std::string_view rest = word.substr(known[i].prefix.size());
      Term term{known[i].kind};
      if (known[i].has_number) {
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), term.value);
        if (error != std::errc{} || end != rest.data() + rest.size() || term.value == 0) continue;
      } else if (!rest.empty()) {
        continue;
      }
      condition.terms_.push_back(term);
      found = true;
    }
    if (!found)
      throw Error(ErrorKind::invalid_argument,
                  "recipe condition '" + std::string(word) +
                      "' is not understood; write for example 'layer<n/8', 'layer more_bits', 'gqa>=4' or 'tied'");
  }
  return condition;
}

bool Condition::term_holds(const Term& term, const TensorFacts& facts) {
  switch (term.kind) {
    case Kind::layer_below:
      return facts.layer < term.value;
    case Kind::layer_below_share:
      return facts.layer < facts.num_layers / term.value;
    case Kind::layer_middle:
      return facts.layer >= facts.num_layers / 8 && facts.layer < 7 * facts.num_layers / 8;
    case Kind::more_bits:
      return wants_more_bits(facts.layer, facts.num_layers);
    case Kind::gqa:
      return facts.gqa >= term.value;
    case Kind::experts_from:
      return facts.num_experts >= term.value;
    case Kind::experts_exactly:
      return facts.num_experts == term.value;
    case Kind::layers_exactly:
      return facts.num_layers == term.value;
    case Kind::cols_rest:
      return facts.cols % term.value != 0;
    case Kind::importance:
      return facts.has_importance;
    case Kind::no_importance:
      return !facts.has_importance;
    case Kind::tied:
      return facts.tied;
    case Kind::stacked:
      return facts.stacked;
  }
  return false;
}

bool Condition::holds(const TensorFacts& facts) const {
  for (const Term& term : terms_)
    if (!term_holds(term, facts)) return false;
  return true;
}

std::string Condition::text() const {
  std::string result;
  std::size_t count = 0;
  const Spelling* const known = spellings(count);
  for (const Term& term : terms_)
    for (std::size_t i = 0; i < count; ++i)
      if (known[i].kind == term.kind)
        result += (result.empty() ? "" : ", ") + std::string(known[i].prefix) +
                  (known[i].has_number ? std::to_string(term.value) : "");
  return result;
}

namespace {

bool matches_glob(std::string_view pattern, std::string_view name) {
  // Greedy with one point of return, which suffices because a later '*' makes the earlier one's choice irrelevant.
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view name) {
  for (;;) {
    const std::size_t bar = pattern.find('|');
    if (matches_glob(pattern.substr(0, bar), name)) return true;
    if (bar == std::string_view::npos) return false;
    pattern.remove_prefix(bar + 1);
  }
}

}  // namespace nibble
