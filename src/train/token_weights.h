// SPDX-License-Identifier: Apache-2.0
//
// How much it matters what a site's Linears give for each token of a text: the mean square of the loss's gradient by
// their outputs (GuidedQuant, Kim et al. 2025, arXiv:2505.07004, with one group). Second moments of a site's inputs
// that are weighted so say what an error of its weights costs the loss, not only its own outputs.
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

class TokenWeights {
 public:
  TokenWeights() = default;
  TokenWeights(std::size_t length, std::map<std::pair<std::int64_t, std::string>, std::vector<float>> by_site)
      : length_(length), by_site_(std::move(by_site)) {}

  bool empty() const { return by_site_.empty(); }
  // [length]; their mean over all windows is 1. Empty: nothing is known of such a site (experts').
  std::span<const float> of(std::int64_t layer, std::string_view site, std::size_t window) const;

 private:
  std::size_t length_ = 0;
  std::map<std::pair<std::int64_t, std::string>, std::vector<float>> by_site_;  // [windows, length]
};

struct TokenWeightOptions {
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  std::size_t windows_at_a_time = 8;
  ProgressCallback progress = {};  // stage "gradients", in windows
};

// The loss is that of the next tokens. Takes all of the model's weights in f32. Every Linear of a site has the same
// say. Error(corrupt): a loss that is not finite, Error(cancelled).
TokenWeights find_token_weights(const SourceModel& model, const CalibrationTokens& tokens,
                                const TokenWeightOptions& options, Machine& machine);

}  // namespace nibble
