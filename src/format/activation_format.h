// SPDX-License-Identifier: Apache-2.0
//
// How the inputs of Linears become 8-bit integers: x ≈ scale * (code - zero), codes -128 .. 127. Spelled behind a weight format's "+":
//
//   a8             a scale for every 128 columns of a token, found while running
//   a8:token       one scale a token, found while running
//   a8:static      one scale for all that a Linear ever reads, from calibration and stored with the model
//   :asym          each of the last two with a zero point
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

namespace nibble {

enum class ActivationGrain : std::uint8_t { block, token, tensor };

struct ActivationFormat {
  ActivationGrain grain = ActivationGrain::block;
  bool is_asymmetric = false;

  bool is_static() const { return grain == ActivationGrain::tensor; }
  bool operator==(const ActivationFormat&) const = default;
};

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
std::string activation_format_name(ActivationFormat format);

// What is wrong with a grid that a file holds, or nothing.
std::optional<std::string> find_activation_grid_defect(const ActivationGrid& grid);

// "int8:row+a8:static" -> {"int8:row", "a8:static"}; the second is empty where there is no plus.
struct FormatPair {
  std::string_view weights, activations;
};
FormatPair split_format_pair(std::string_view spelling);

}  // namespace nibble
