// SPDX-License-Identifier: Apache-2.0
//
// When a recipe's rule applies, as a short text that reads the same in JSON, in print and in the tables of mixes: terms
// joined by commas, all of which must hold.
//
//   layer<2           layer<n/8          layer in n/8..7n/8     layer more_bits     (n: number of layers; integer
//   division) gqa>=4            experts>=4         experts=8              layers=80           cols%256 importance no
//   importance      tied                   stacked
//
// cols%256: row lengths that are not multiples of 256. stacked: three-dimensional expert tensors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

// What a recipe may ask about a tensor.
struct TensorFacts {
  std::string name{};      // in GGUF spelling, "blk.3.attn_v.weight"
  std::string own_name{};  // as the checkpoint spells it
  std::uint64_t rows = 0, cols = 0;
  std::uint64_t layer = 0;  // meaningless outside layers
  std::uint64_t num_layers = 0;
  std::uint64_t gqa = 1;  // query heads per key/value head
  std::uint64_t num_experts = 0;
  bool tied = false;            // an embedding that is the head, too
  bool stacked = false;         // [experts, rows, cols]
  bool has_importance = false;  // statistics of the inputs are at hand
};

// The layers that llama.cpp's mixes spend more bits on: the first and last eighth and every third between.
constexpr bool wants_more_bits(std::uint64_t layer, std::uint64_t num_layers) {
  const std::uint64_t eighth = num_layers / 8;
  return layer < eighth || layer >= 7 * num_layers / 8 || (layer - eighth) % 3 == 2;
}

class Condition {
 public:
  Condition() = default;  // always holds
  // Error(invalid_argument) names the term that is not understood.
  static Condition parse(std::string_view text);
  bool holds(const TensorFacts& facts) const;
  std::string text() const;  // what parse accepts, canonical

 private:
  enum class Kind {
    layer_below,
    layer_below_share,
    layer_middle,
    more_bits,
    gqa,
    experts_from,
    experts_exactly,
    layers_exactly,
    cols_rest,
    importance,
    no_importance,
    tied,
    stacked
  };
  struct Term {
    Kind kind;
    std::uint64_t value = 0;
  };
  struct Spelling;
  static const Spelling* spellings(std::size_t& count);
  static bool term_holds(const Term& term, const TensorFacts& facts);
  std::vector<Term> terms_;
};

// Shell-like patterns: '*' stands for any run of characters, '?' for one, '|' separates alternatives.
bool matches_pattern(std::string_view pattern, std::string_view name);

}  // namespace nibble
