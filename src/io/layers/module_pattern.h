// SPDX-License-Identifier: Apache-2.0
//
// Regular expressions that name modules of a network, as compressed-tensors spells them behind "re:" (Python's
// re.match, which begins at the begin of a name and ends anywhere). All ways through an expression are followed at
// once, so that no expression takes more than a bounded time. Immutable; safe from any thread.
//
//   const ModulePattern pattern("model\\.layers\\.[0-3]\\..*_proj$");
//   pattern.matches("model.layers.2.self_attn.q_proj");   // true
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace nibble {

struct PatternNode;

class ModulePattern {
 public:
  // Literals, ., classes, groups, |, *, +, ?, {m,n}, lazy or not, ^, $, \d \w \s and their opposites, (?=...) and
  // (?!...). Error(unsupported) names anything else, with its offset. key: of the setting that has the expression, for
  // messages; empty: none.
  explicit ModulePattern(std::string_view expression, std::string_view key = {});

  // Where a match begins: where the name does, or behind any of its points, too, where ^ then holds.
  enum class Begin : std::uint8_t { name, word };
  // Error(unsupported) where following all ways takes too long.
  bool matches(std::string_view name, Begin begin = Begin::name) const;

 private:
  std::string text_, key_;
  std::shared_ptr<const PatternNode> root_;
};

}  // namespace nibble
