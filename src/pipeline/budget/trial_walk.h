// SPDX-License-Identifier: Apache-2.0
//
// What storing some of a model's tensors in other formats does to its predictions, for many such trials at once: all of
// them walk through the model side by side, a layer's weights in memory at a time, each from the first layer that it
// changes. Everything is multiplied in f32, so that the divergence is the weights' own. The same figures for any number
// of threads. Internal to pipeline/.
//
//   TrialWalk walk(checkpoint, scored, calibration, options, machine);
//   std::vector<double> kl = walk.run({{{{"blk.0.ffn_down.weight", find_format("q2_k")}}}}, {}, nullptr);
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/progress_meter.h"
#include "calibrate/calibration_text.h"
#include "calibrate/layer_walk.h"
#include "calibrate/spillable_bytes.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "pipeline/quantize/site_rounding.h"
#include "quantize/method.h"

namespace nibble {

struct TrialOptions {
  Method method{};                                  // by which outputs will be rounded; its transform is left out
  WalkArithmetic walk = WalkArithmetic::automatic;  // of the windows that tell the method of inputs
  KernelOptions kernels{};
  std::filesystem::path spill_directory{};  // as WalkOptions::spill_directory
};

// Which tensors are stored how, by GGUF name; all others stay as they are.
struct Trial {
  std::map<std::string, FormatPtr, std::less<>> formats;
};

// Called once for each site with the tensors that read it, and once with each matrix that is looked up and the head
// (layer -1).
using SiteVisitor = std::function<void(const std::vector<const ModelTensor*>& tensors, SiteRounding& rounding)>;

class TrialWalk {
 public:
  // scored: windows whose predictions are compared; calibration: those that tell the method of inputs, where it asks.
  // Walks the original. Errors as calibration's.
  TrialWalk(const SourceModel& checkpoint, const CalibrationTokens& scored, const CalibrationTokens& calibration,
            const TrialOptions& options, Machine& machine);

  const ModelConfig& config() const { return config_; }
  const ModelTensors& tensors() const { return tensors_; }
  const SourceModel& checkpoint() const { return checkpoint_; }

  // KL(original || trial) of the scored predictions, their mean, for each trial. meter: counts layers_of_run().
  std::vector<double> run(const std::vector<Trial>& trials, const SiteVisitor& visit, ProgressMeter* meter);
  std::uint64_t layers_of_run() const { return config_.layers + 1; }

 private:
  Matrix matrix(std::string_view part) const;
  // Rows of matrices that are looked up; those that are not told are the original's.
  void embed(LayerWalk& walk, const std::map<std::string_view, const Matrix*>& rows);
  void find_lookups();
  void walk_original();
  static void pass_original(LayerWalk& walk, const LayerWeights& layer);
  void add_statistics(LayerWalk& walk, std::int64_t index, const LayerWeights& layer);
  // The layer with a trial's changes; `rounding` by site.
  void pass(const LayerWeights& layer, std::int64_t index, const Trial& trial,
            std::map<std::string, SiteRounding>& rounding);
  bool changes(const Trial& trial, std::int64_t layer) const;
  double divergence(const PackedLinear& head);
  PackedLinear packed(const Matrix& head);

  const SourceModel& checkpoint_;
  const CalibrationTokens& scored_;
  const CalibrationTokens& calibration_;
  TrialOptions options_;
  Machine& machine_;
  ModelConfig config_;
  const ModelTensors& tensors_;
  LayerWeights begin_;
  // Matrices beside the embedding whose rows are looked up: the rows that scored windows ask for, and whose they are.
  struct Lookup {
    const ModelTensor* tensor;
    Matrix rows;
  };
  std::vector<Lookup> lookups_;
  std::map<std::int32_t, std::size_t> row_of_;
  LayerWalk walk_;
  std::optional<LayerWalk> calibration_walk_;
  bool keeps_statistics_ = false;  // of the layers, from one run to the next
  std::map<SiteKey, SiteStatistics> statistics_;
  SiteStatistics head_statistics_;
  Matrix final_norm_;
  std::vector<float> reference_;  // the original's logits at the scored positions
};

}  // namespace nibble
