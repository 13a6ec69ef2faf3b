// SPDX-License-Identifier: Apache-2.0
//
// What the loss of a text asks of the Linears that are rounded for it, as --hessian says: how much each token weighs in
// the moments of their inputs, and errors of their outputs against each other. Internal to pipeline/; one thread at a
// time.
//
//   LossWeights weights(source, tokens, {hessian, follow_original, progress}, machine);
//   weights.prepare(3, is_done);
//   const std::vector<TokenShares> shares = weights.shares_of(site, 3, "down");
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/calibration_text.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "pipeline/quantize/hessian.h"
#include "pipeline/quantize/site_view.h"
#include "train/loss_curvature.h"

namespace nibble {

// A line where a text is so short that a few of its tokens, which gradients single out, decide all; empty: it is not.
std::string loss_weight_warning(const Hessian& hessian, const CalibrationTokens& tokens);

struct LossWeightOptions {
  Hessian hessian{};
  bool follow_original = true;
  bool rotates = false;         // HessianText's
  std::uint64_t beside = 0;     // bytes that a layer takes while it learns
  ProgressCallback progress{};  // stage "gradients"; of kl once for each run of layers that memory has room for
};

class LossWeights {
 public:
  // source and tokens outlive this. Error(resource) before any gradient: memory that does not suffice; says what would
  // fit. Errors of find_token_weights.
  LossWeights(const SourceModel& source, const CalibrationTokens& tokens, const LossWeightOptions& options,
              Machine& machine);

  // Before a layer's Linears are asked for; is_needed: whether any of them will be.
  void prepare(std::int64_t layer, bool is_needed);

  // What is kept of a layer while it learns, at most, in bytes, where that is yet to be taken.
  std::uint64_t bytes_to_come() const;

  // Whether a site's Linears are weighed by themselves.
  bool is_by_part() const { return options_.hessian.is_kl || weights_.groups() > 1; }
  // Of a site, or of one of its parts where these are weighed by themselves: for each group of rows. Empty: every token
  // weighs the same.
  std::vector<TokenShares> shares_of(const Site& site, std::int64_t layer, const std::string& part) const;
  // O of train/loss_curvature.h, its rows and columns in another order (empty: as the network reads them); empty:
  // outputs are not weighed.
  std::vector<float> outputs_of(std::int64_t layer, std::string_view part,
                                const std::vector<std::uint32_t>& order) const;

  // F of train/stream_error.h behind a layer; empty: 1.
  std::span<const float> stream_moment(std::int64_t layer) const { return curvature_.stream_moment(layer); }

 private:
  const SourceModel& source_;
  const CalibrationTokens& tokens_;
  LossWeightOptions options_;
  Machine& machine_;
  TokenWeights weights_;     // guided
  LossCurvature curvature_;  // kl: of some layers, up to
  std::int64_t curvature_end_ = 0;
};

}  // namespace nibble
