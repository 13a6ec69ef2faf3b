// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// Rotary position embedding (Su et al. 2021): pairs of channels of each head turn by the token's position times a
// frequency. Pairs are (i, i + n) of a head's first 2n channels where they are halves, else (2i, 2i + 1); n =
// frequencies.size(); the rest passes. Sequences that are to become longer than some length may turn by other
// frequencies, from their first token on (LongRoPE, Ding et al. 2024).
struct Rope {
  static constexpr std::string_view kName = "rope";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {.reads_inputs = false};
  static constexpr bool kMixesTokens = false;

  std::uint64_t head_dim = 0;
  std::vector<double> frequencies;  // radians a position
  bool half_split = true;
  float magnitude = 1;                        // what turns is multiplied by it, too
  std::vector<double> long_frequencies = {};  // as many; empty: the same ones at every length
  std::uint64_t short_length = 0;             // up to which sequences turn by `frequencies`
  bool operator==(const Rope&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands& operands, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                const Gradients& into) const;

 private:
  void turn(const Operands& operands, std::uint64_t width, double sign, std::span<float> numbers) const;
};

}  // namespace nibble
