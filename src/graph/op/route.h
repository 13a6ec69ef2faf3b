// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "graph/operation.h"

namespace nibble {

// The router of a mixture of experts (MoE): which experts a token is sent to, and with what weight (Shazeer et al.
// 2017). Logits [tokens, experts] become scores, their softmax over all experts or the sigmoid of each (DeepSeek-V3,
// 2024); the experts with the `used` largest are chosen. With a correction each expert's number is added to its score
// for that choice alone (Wang et al. 2024). With groups, of `groups` runs of as many experts the groups_used best are
// kept before (DeepSeek-V2, 2024). Weights are the scores of those chosen; with `normalizes` divided by their sum plus
// sum_offset (of sigmoids alone); then times factor; with `scales` each then times a number of its expert's own. Of
// equals the earlier expert, and group, comes first. Output: [tokens, experts], 0 for all others.
struct Route {
  static constexpr std::string_view kName = "route";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = false;

  enum class Score { softmax, sigmoid };
  enum class GroupScore { largest, two_largest };  // what a group counts: its best expert's score, its best two's sum

  std::uint64_t used = 0;
  bool normalizes = true;
  std::string scales = {};  // part [experts]; empty: none
  Score score = Score::softmax;
  std::string correction = {};  // part [experts]; empty: none
  std::uint64_t groups = 1, groups_used = 1;
  GroupScore group_score = GroupScore::two_largest;
  float factor = 1, sum_offset = 0;
  bool operator==(const Route&) const = default;

  // What of a token's logits decides on its experts, and what those weigh before they are normalized and scaled; in
  // f64. The engine's, too.
  struct Choice {
    std::vector<std::uint64_t> order;  // all experts; first those chosen, the best before the others
    std::vector<double> shares;        // by expert: of softmax relative to the largest logit's
    double total = 1;                  // that the shares of those chosen are divided by
    std::vector<double> keys;          // that were compared
  };
  // correction: [experts], or empty. Keeps the choice's memory.
  void choose(std::span<const float> logits, std::span<const float> correction_numbers, Choice& choice) const;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands& operands, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                const Gradients& into) const;
};

}  // namespace nibble
