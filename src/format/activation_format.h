// SPDX-License-Identifier: Apache-2.0
//
// How the inputs of Linears become integers: x ≈ scale * (code - zero), codes -128 .. 127, or of 15 bits and a sign.
// Spelled behind weights and a "+":
//
//   a8:g128            a scale for every 128 columns of a token (32, 64 or 128), found while running
//   a8:g128:wide       the same, but columns far larger than the rest of their 128 have 15 bits and a sign, and do not
//   decide the scale a8                 what loses least at its speed: a8:g128:wide a16:g128           15 bits and a
//   sign for every column a8:token           one scale a token, found while running a8:static          one scale for
//   all that a Linear ever reads, from calibration and stored with the model :asym              each of the last two
//   with a zero point
//
// Plain values; safe from any thread.
//
//   ActivationFormat f = parse_activation_format("a8:static:asym");
//   activation_format_name(f);   // "a8:static:asym"
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

enum class ActivationGrain : std::uint8_t { run, token, tensor };

// Which columns of a token have wide codes: 15 bits and a sign in place of 7. few: those that are eight times as large
// as the mean of their run or more; some: four times, in runs that have far larger ones; many: four times, in all runs
// (WideRule in kernels/linear/integer_shape.h).
enum class WideColumns : std::uint8_t { none, few, some, many, all };

struct ActivationFormat {
  ActivationGrain grain = ActivationGrain::run;
  bool is_asymmetric = false;
  WideColumns wide = WideColumns::none;  // of runs only
  std::uint16_t run = 128;               // columns that share a scale, where the grain is a run

  bool is_static() const { return grain == ActivationGrain::tensor; }
  bool operator==(const ActivationFormat&) const = default;
};

// What "a8" means, and what weights are multiplied with whose file says nothing. A model's: at some of its sites more
// columns are wide, or fewer (model/stored_activations.h).
inline constexpr ActivationFormat kDefaultActivations{ActivationGrain::run, false, WideColumns::some, 128};

inline constexpr int kLowestActivation = -128, kHighestActivation = 127;
// Smaller scales would overflow their inverse; no activation that matters has one.
inline constexpr float kSmallestActivationScale = 1e-30f;

// One grid. zero is 0 where the format is symmetric.
struct ActivationGrid {
  float scale = 1;
  std::int32_t zero = 0;

  bool operator==(const ActivationGrid&) const = default;
};

// Error(invalid_argument) lists what is known.
ActivationFormat parse_activation_format(std::string_view spelling);
// Never the short form: what is stored says what it means.
std::string activation_format_name(ActivationFormat format);
// All that have a name.
std::vector<ActivationFormat> activation_formats();

// What is wrong with a grid that a file holds, or nothing.
std::optional<std::string> find_activation_grid_defect(const ActivationGrid& grid);

// "int8:row+a8:static" -> weights "int8:row", parts {"a8:static"}: what stands between plus signs, empty where nothing
// does.
struct SpelledFormat {
  std::string_view weights;
  std::vector<std::string_view> parts;
};
SpelledFormat split_format(std::string_view spelling);

}  // namespace nibble
