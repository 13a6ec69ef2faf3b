// SPDX-License-Identifier: Apache-2.0
//
// How much an error of a Linear's weights costs the model's loss, as a Kronecker product (YAQA, Tseng et al. 2025,
// arXiv:2505.22988): Fisher's information of the distributions that the model gives, which is the second derivative of
// the divergence from them, is taken for O x I, so that errors E [rows, cols] cost tr(O E I E^T). For the gradient g by
// the outputs and the inputs x of a token, independent of other tokens,
//
//   I = E[(g^T O g) x x^T],    O = E[(x^T I x) g g^T],
//
// found by a few rounds from identities, each a pass over the text. Of I what is kept is what it weighs a token by,
// g^T O g: whoever knows the inputs sums them up with these weights. Experts have none.
//
//   const LossCurvature curvature = find_loss_curvature(model, tokens, {.first_layer = 3, .end_layer = 4}, machine);
//   const LinearCurvature* const of_down = curvature.find(3, "down");
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/token_weights.h"

namespace nibble {

struct LinearCurvature {
  std::vector<float> token_weights;  // [windows, length]; their mean is 1
  std::vector<float> output_moment;  // O, [rows, rows], rows as the network reads them; the mean of its diagonal is 1
};

struct CurvatureOptions {
  std::int64_t first_layer = 0, end_layer = 0;  // of which
  std::size_t rounds = 2;
  TokenTargets targets = TokenTargets::own;
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  std::size_t windows_at_a_time = 8;
  ProgressCallback progress = {};  // stage "gradients", in windows
};

class LossCurvature {
 public:
  using ByPlace = std::map<std::pair<std::int64_t, std::string>, LinearCurvature>;  // by layer and part
  LossCurvature() = default;
  using ByLayer = std::map<std::int64_t, std::vector<float>>;
  LossCurvature(ByPlace by_place, ByLayer streams) : by_place_(std::move(by_place)), streams_(std::move(streams)) {}

  const LinearCurvature* find(std::int64_t layer, std::string_view part) const;  // null: nothing is known
  // E[g g^T] of the gradients by the stream behind a layer, [hidden, hidden], the mean of its diagonal 1: what errors
  // there cost (train/stream_error.h). Empty: nothing is known.
  std::span<const float> stream_moment(std::int64_t layer) const;
  const ByPlace& all() const { return by_place_; }

 private:
  ByPlace by_place_;
  ByLayer streams_;
};

// Takes all of the model's weights in f32. Error(corrupt): a loss that is not finite; Error(cancelled).
LossCurvature find_loss_curvature(const SourceModel& model, const CalibrationTokens& tokens,
                                  const CurvatureOptions& options, Machine& machine);
// What that takes, in bytes, at most.
std::uint64_t curvature_bytes(const SourceModel& model, const CalibrationTokens& tokens,
                              const CurvatureOptions& options, Machine& machine);

}  // namespace nibble
