// SPDX-License-Identifier: Apache-2.0
//
// Layers whose Linears learn how they are rounded (Method::learning): what a rounder has chosen for a layer's Linears
// is kept until all of them are there; then they learn together, from the text as it entered the layer and what the
// original makes of it, and are written. Internal to pipeline/; one thread at a time, the pool does the work.
//
//   LayerLearner learning(plan, parts, options, output, machine);
//   learning.begin(layer, current, walk);                       // before its first site
//   if (learning.awaits("q")) learning.start("q", std::move(codes));
//   if (learning.is_open()) learning.finish(current, walk, &original, {});
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/layer_walk.h"
#include "kernels/machine.h"
#include "pipeline/quantize/planned_parts.h"
#include "pipeline/quantize/tensor_output.h"
#include "train/layer_training.h"

namespace nibble {

// True of Linears whose rounding is learned: the method asks for it, and their format and their place in the output
// allow it.
bool learns(const TensorPlan& tensor, const QuantizeModelOptions& options);
// Linears that keep what the method began with, since their rounding cannot be learned: "NAME: why".
std::vector<std::string> left_unlearnt(const QuantizePlan& plan, const QuantizeModelOptions& options);
// Before anything is looked at that takes time. Error(invalid_argument): no Linear that is to learn can, for its
// format's sake, with the reason of the first; no text, or one window of it. Error(unsupported): none can, for this
// model's sake; those of one layer are to learn by several methods.
void require_learnable(const QuantizePlan& plan, const QuantizeModelOptions& options);
// The same of a mix that is yet to be chosen from these formats.
void require_learnable(std::span<const std::string> formats, const QuantizeModelOptions& options);
// What it all takes in the units that progress is counted in (progress_weight).
std::uint64_t learning_work(const QuantizePlan& plan, const QuantizeModelOptions& options);

struct LearningText {
  std::uint64_t tokens = 0, length = 0;
};
// What the largest layer that learns takes, in bytes.
struct LearningBytes {
  std::uint64_t layer = 0;   // itself in f32, what it learns, a batch
  std::uint64_t hidden = 0;  // the text where it entered, where it is, and behind the original's; on a disk: 0
  std::size_t batch = 0;     // windows
};
LearningBytes learning_bytes(const QuantizePlan& plan, const QuantizeModelOptions& options, const LearningText& text);
// In words. beside: bytes that moments keep of a layer, yet to be taken. Error(resource) where it all is more than is
// available, in bytes.
std::string require_learning_memory(const QuantizePlan& plan, const QuantizeModelOptions& options,
                                    const LearningText& text, std::uint64_t beside, std::uint64_t available);

class LayerLearner {
 public:
  // All outlive this.
  LayerLearner(const QuantizePlan& plan, const PlannedParts& parts, const QuantizeModelOptions& options,
               TensorOutput& output, Machine& machine);
  ~LayerLearner();

  bool learns_anything() const { return learns_anything_; }
  // Before text is walked: that there is enough of it (Error(unusable_input) else), and as require_learning_memory();
  // a note of what it takes.
  void require_room(const LearningText& text, std::uint64_t beside) const;

  // Whether any of its Linears learn that are not there from a run before, with what was told of them.
  bool is_due(std::int64_t layer) const;
  // A layer is met; nothing is open behind this where it is not due.
  // current: its weights before they are rounded.
  void begin(std::int64_t layer, const LayerWeights& current, LayerWalk& walk);
  bool is_open() const { return open_ != nullptr; }
  bool awaits(std::string_view part) const;
  void start(std::string_view part, QuantizedTensor codes);
  // Writes the parts and takes the text through what they have become. original: the text behind the original's layer;
  // null: nobody follows it. output_moment: F of train/stream_error.h behind this layer; empty: 1.
  void finish(LayerWeights& current, LayerWalk& walk, const LayerWalk* original, std::span<const float> output_moment);

 private:
  struct Open;
  LayerText text(const LayerWeights& current, LayerWalk& walk, const LayerWalk* original) const;

  const QuantizePlan& plan_;
  const PlannedParts& parts_;
  const QuantizeModelOptions& options_;
  TensorOutput& output_;
  Machine& machine_;
  bool learns_anything_ = false;
  std::unique_ptr<Open> open_;
};

}  // namespace nibble
