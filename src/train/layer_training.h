// SPDX-License-Identifier: Apache-2.0
//
// A layer's Linears learn together how they are rounded, so that the layer gives what the original's does: the mean
// squared error of its output over the calibration text is made small, from codes and grids that a rounder has chosen.
//
//   signs      every step goes by the signs of gradients alone, each position at most half a distance between points
//              from where it began (SignRound, Cheng et al. 2023, arXiv:2309.05516; grids as shares of what they were)
//   curvature  positions are drawn to where the error would be least if nothing else moved: the slope of the error over
//              its curvature from their points, so that a code changes where that alone lowers the error, and no other
//              does however long the same slope pushes it; grids by AdamW. Curvature is the diagonal of Gauss and
//              Newton's, from gradients of random signs (Hutchinson 1990), averaged over rows and over columns.
//
// Some windows are never learnt from: every few steps the error is judged on them, at the beginning, too, and the best
// state is kept. What is judged is what would be stored. The same bits for any number of threads. One thread at a time.
//
//   LayerTraining training(graph, layer, weights, starts, text, settings, machine);
//   const LearntLayer learnt = training.run([&] { meter.advance(1); });
//   for (const std::string& part : parts) use(training.stored(part));
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/network.h"
#include "nibble/quantize.h"
#include "quantize/method.h"
#include "train/graph_run.h"
#include "train/learned_rounding.h"
#include "train/stream_error.h"

namespace nibble {

struct LayerTrainingSettings {
  LayerLearning rule = LayerLearning::signs;
  std::uint64_t steps = 200;
  std::size_t batch = 8;  // windows in a step
  // Of positions, a step. By signs: in distances between points, and falls to 0 over the steps. By curvature: the share
  // of the way.
  double rate = 0.005;
  double grid_rate = 0.005;  // of grids' numbers, as shares of them; falls to 0
  float within = 0.1F;       // as LearnedRounding's
  double trust = 1;          // by curvature: the share of slope / curvature that is gone for, since all move at once
  std::uint64_t judge_every = 10;  // steps
  std::uint64_t seed = 1;          // of the order of windows
  ProductArithmetic arithmetic = ProductArithmetic::f32;
};

// Rates and steps that have done best (docs/methods.md).
LayerTrainingSettings usual_settings(LayerLearning rule);
// The same way in more steps, or fewer: signs go as far.
LayerTrainingSettings scaled_to_steps(LayerTrainingSettings settings, std::uint64_t steps);

// What a layer reads and is to give, by window: [length, width], valid until the next call.
struct LayerText {
  using ByWindow = std::function<std::span<const float>(std::size_t window)>;
  std::size_t windows = 0, length = 0;
  ByWindow inputs;   // the stream that enters
  ByWindow targets;  // the stream that is to leave; none: what the layer's weights give as they are given
  std::function<std::span<const float>(const Crossing& received, std::size_t window)> received{};
  std::function<std::span<const std::int32_t>(std::size_t window)> ids{};  // none: the layer looks nothing up
  std::span<const float> output_moment{};  // F of train/stream_error.h, [width, width]; empty: 1
};

// Codes and grids to begin with, in the order in which the network reads the part.
struct LearnedPart {
  std::string part;
  QuantizedTensor start;
};

class LayerTraining {
 public:
  // weights: of this layer, as the original has them but for transforms; parts become what is stored, the others stay.
  // All but `parts` is borrowed. Error(unsupported) names a part whose rounding is not learned, and why.
  LayerTraining(const Graph& graph, std::int64_t layer, NetworkWeights& weights, const std::vector<LearnedPart>& parts,
                const LayerText& text, const LayerTrainingSettings& settings, Machine& machine);

  // after_step: may throw to stop. Error(unusable_input): an error that is NaN or infinite: in which step of which
  // layer (counted from 1), and what to lower.
  LearntLayer run(const std::function<void()>& after_step);
  QuantizedTensor stored(std::string_view part) const;
  bool weighs_errors() const { return stream_error_.has_moment(); }  // by the text's output_moment

  // What it takes beside the text and the layer's weights, in bytes.
  static std::uint64_t bytes(const DrawnGraph& drawing, std::uint64_t weights, std::size_t length,
                             const LayerTrainingSettings& settings);

 private:
  struct Batch {
    std::vector<float> inputs, targets;
    std::vector<std::vector<float>> received;
    std::vector<std::int32_t> ids;
  };
  void make_targets();
  void fill(std::span<const std::size_t> windows, Batch& batch) const;
  // Forward over the windows, which are in batch_ then, and what `use` does behind it.
  void walk(std::span<const std::size_t> windows, GraphRun::Keep keep, const std::function<void(GraphRun&)>& use);
  double step(std::span<const std::size_t> windows);
  double judge();
  void find_curvature();
  std::vector<std::size_t> next_batch();
  void require_finite(double error, std::uint64_t step) const;

  const Graph& graph_;
  std::int64_t layer_;
  NetworkWeights& weights_;
  LayerText text_;
  LayerTrainingSettings settings_;
  Machine& machine_;
  TapeRoom room_;
  std::size_t width_;  // of the output
  StreamError stream_error_;
  std::vector<float> own_targets_;            // where the text has none
  std::vector<std::size_t> learnt_, judged_;  // windows
  std::vector<std::size_t> order_;            // of those that are left of a pass
  std::uint64_t passes_ = 0;
  Batch batch_;
  std::vector<float> slopes_;
  std::vector<LearnedRounding> parts_;
  std::vector<Curvature> curvature_;  // of parts, where it is asked for
};

}  // namespace nibble
