// SPDX-License-Identifier: Apache-2.0
//
// How much it matters what a site's Linears give for each token of a text: the mean square of the loss's gradient by
// their outputs (GuidedQuant, Kim et al. 2025, arXiv:2505.07004). Second moments of a site's inputs that are weighted
// so say what an error of its weights costs the loss, not only its own outputs. With several groups every Linear's rows
// are cut into as many, each of which has weights of its own.
//
//   const TokenWeights weights = find_token_weights(model, tokens, {.arithmetic = arithmetic}, machine);
//   const std::span<const float> s = weights.of(3, "mlp_in", window);
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "calibrate/calibration_text.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "train/tape.h"

namespace nibble {

// Rows [begin_of_group(rows, groups, i), begin_of_group(rows, groups, i + 1)) are a Linear's group i.
constexpr std::uint64_t begin_of_group(std::uint64_t rows, std::size_t groups, std::size_t group) {
  return rows * group / groups;
}

// So that their mean is 1.
void normalize_weights(std::span<float> weights);

// A sum over tokens of which a few may make up nearly all.
struct UnequalShares {
  double sum = 0, squares = 0;  // of what each token brings, and of its square

  void add(double share);
  // As how much of a moment of width x width such a sum can be believed, from 0 to 1, the rest being what is believed
  // without any token: n / (n + width / 2) of n = sum^2 / squares tokens in effect (Kish 1965), after the shrinkage of
  // covariances (Ledoit, Wolf 2004); a few thousand windows leave next to nothing to the rest, four nearly all.
  double trust(std::size_t width) const;
};

// Weights whose mean is 1, for moments of inputs of such a width: moved towards 1 as far as they cannot be believed.
void temper_weights(std::span<float> weights, std::size_t width);

class TokenWeights {
 public:
  TokenWeights() = default;
  using ByPlace = std::map<std::pair<std::int64_t, std::string>, std::vector<float>>;  // [groups, windows, length]
  TokenWeights(std::size_t length, std::size_t groups, ByPlace by_place)
      : length_(length), groups_(groups), by_place_(std::move(by_place)) {}

  bool empty() const { return by_place_.empty(); }
  std::size_t groups() const { return groups_; }
  // [length]; their mean over all windows is 1. place: with one group a site, with several a part. Empty: nothing is
  // known of such a place (experts').
  std::span<const float> of(std::int64_t layer, std::string_view place, std::size_t window,
                            std::size_t group = 0) const;

 private:
  std::size_t length_ = 0, groups_ = 1;
  ByPlace by_place_;
};

// What the loss is of: the text's next tokens, or tokens that the model itself says.
enum class TokenTargets : std::uint8_t { text, own };

struct TokenWeightOptions {
  std::size_t groups = 1;
  TokenTargets targets = TokenTargets::text;
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  std::size_t windows_at_a_time = 8;
  ProgressCallback progress = {};  // stage "gradients", in windows
};

// Takes all of the model's weights in f32. With one group every Linear of a site has the same say. Error(corrupt): a
// loss that is not finite, Error(cancelled).
TokenWeights find_token_weights(const SourceModel& model, const CalibrationTokens& tokens,
                                const TokenWeightOptions& options, Machine& machine);
// What that takes, in bytes, at most.
std::uint64_t token_weight_bytes(const SourceModel& model, const CalibrationTokens& tokens,
                                 const TokenWeightOptions& options, Machine& machine);
// And what of it stays, the weights of all tokens.
std::uint64_t kept_token_weight_bytes(const SourceModel& model, std::uint64_t tokens, std::size_t groups);

}  // namespace nibble
