// SPDX-License-Identifier: Apache-2.0
//
// Which tensor gets which format and method: ordered rules, the first that matches decides. A recipe is data: it
// prints, it is JSON (pipeline/quantize/recipe_json.h), it can be compared line by line.
//
//   Recipe recipe = find_recipe("q4_k_m");
//   Assignment a = assign(recipe, {.name = "blk.0.attn_v.weight", .rows = 512, .cols = 2048, .layer = 0, .num_layers =
//   16, .gqa = 4}); a.format->name();   // "q6_k"
//
// Spellings that find_recipe takes: "source" (every tensor as it is), any format ("q4_k", "int4:g32"), any mix
// ("q4_k_m"), "mix:NAME" where a mix and a block format share a name ("mix:q6_k").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/format.h"
#include "quantize/condition.h"

namespace nibble {

// A format name of rules only: the source's own 16-bit type, f16 where the source is wider.
inline constexpr std::string_view kSixteenBit = "16bit";
// A format name of rules only: the source's own type.
inline constexpr std::string_view kSourceFormat = "source";

struct RecipeRule {
  std::string pattern = "*";  // on the GGUF spelling or the checkpoint's own, see matches_pattern
  Condition when;
  std::string format;  // a format's spelling, "16bit" or "source"
  std::string method;  // empty: the caller's
};

struct Recipe {
  std::string name;
  std::string description;
  std::string main_format;  // the format that gives the recipe its name
  std::vector<RecipeRule> rules;
  std::optional<std::uint32_t> file_type;  // general.file_type of a GGUF file made by it
};

// A named mix of llama.cpp.
struct MixInfo {
  std::string_view name;
  std::string_view description;
};
std::vector<MixInfo> list_mixes();

// Error(invalid_argument) lists near names.
Recipe find_recipe(std::string_view spelling);
// True when the spelling names a planar format (which covers the Linear layers only).
bool covers_linears_only(const Recipe& recipe);

// Puts a rule in front: an embedding or a head that is asked for by itself. A tied matrix is both.
// Error(invalid_argument) for an unknown format.
void override_embedding(Recipe& recipe, std::string_view format);
void override_head(Recipe& recipe, std::string_view format);

struct Assignment {
  FormatPtr format;      // null: keep what the source has
  std::string method;    // empty: the caller's
  std::string wanted;    // the rule's format when the shape did not allow it, else empty
  std::size_t rule = 0;  // index of the rule that decided
};

// source_format: what the tensor has now (decides "16bit" and "source"); null for none. Error(unsupported) when no rule
// matches, or a rule names a format that is not there.
Assignment assign(const Recipe& recipe, const TensorFacts& facts, const FormatPtr& source_format);

// What takes the place of a block format whose block does not divide the row length: llama.cpp's table, and f16 at its
// end. Formats that take any length are returned as they are.
FormatPtr fallback_format(const FormatPtr& wanted, std::uint64_t cols);

// What may take the place of a format whose scales cannot hold a tensor's weights, from the smallest on: llama.cpp's
// table, the same points with scales in f32, bf16, f32 (which holds all that there is).
std::vector<FormatPtr> other_scales(const FormatPtr& wanted, std::uint64_t cols);

}  // namespace nibble
