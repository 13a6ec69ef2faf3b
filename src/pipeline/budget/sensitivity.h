// SPDX-License-Identifier: Apache-2.0
//
// What each group of tensors costs in each format, measured on text, and the mix that loses least within a budget.
//
// One group at a time is rounded, by the method that the output will be rounded by, to the smallest format that its
// rows fit, while all else stays as it is, and the divergence of the predictions is measured. Where that is much,
// further formats are measured, finer and finer ones, until it is little. What lies between two that were measured is
// interpolated in the logarithms of losses and of the outputs' squared errors; what lies beyond the finest loses in
// proportion to that error.
//
//   SensitivityProbe probe(checkpoint, texts, {.method = find_method("gptq")}, machine);
//   Sensitivities s = probe.measure();
//   SolvedRecipe solved = solve_recipe(s, {.bits_per_weight = 4.5});
//   double kl = probe.divergences({solved.recipe}).front();       // of all its changes together
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/calibration_text.h"
#include "calibrate/layer_walk.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "nibble/quantize.h"
#include "quantize/budget.h"
#include "quantize/method.h"
#include "quantize/recipe.h"

namespace nibble {

struct SensitivityOptions {
  // Candidates: of these, those that a group's rows fit.
  std::vector<std::string> formats = {"q2_k", "q3_k", "iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0"};
  // What is added where a group cannot have all of them.
  std::vector<std::string> other_formats = {"q4_0", "iq4_nl", "q4_1", "q5_0", "q5_1"};
  // These alone in place of all of them, where whoever asks names any; what can have none of them stays as it is.
  std::vector<std::string> named_formats{};
  // What the output's container says: which of these a matrix cannot have, and which matrices stay as they are; none:
  // all can have all.
  std::function<bool(const ModelTensor& tensor, const FormatPtr& format)> is_refused{};
  std::function<bool(const ModelTensor& tensor)> is_plain{};
  Method method = find_method("rtn");  // of the output; its transform is left out
  KernelOptions kernels{};
  SamplingOptions sampling{.samples = 6, .length = 96, .seed = 0};  // of texts: windows whose predictions are compared
  SamplingOptions calibration{
      .samples = 16, .length = 512, .seed = 1};     // and those that tell the method of inputs, where it asks
  WalkArithmetic walk = WalkArithmetic::automatic;  // of the latter
  std::filesystem::path spill_directory{};          // as WalkOptions::spill_directory
  ProgressCallback progress{};                      // stages "sensitivity" and "mixes", in layers
};

struct Sensitivities {
  std::vector<BudgetItem> items;  // fused groups share a format: q k v, gate up
  std::vector<RecipeRule> left;   // matrices that can have no candidate stay as they are
  std::uint64_t fixed_bytes = 0;  // of what is never quantized
  std::uint64_t parameters = 0;   // all of them
  std::uint64_t probes = 0;       // divergences that were measured
};

// The formats that a group may be stored in whose rows have so many columns, smallest first. tensors: the group's, of
// which options.is_refused is asked.
std::vector<FormatPtr> candidate_formats(const SensitivityOptions& options, std::uint64_t cols,
                                         std::span<const ModelTensor* const> tensors = {});

// What a group loses in a format: the squared error of its outputs and, where it was measured, the divergence.
struct MeasuredLoss {
  double error = 0, loss = 0;
};
// The loss at `error` from those measured (at least one, in falling order of their errors).
double interpolated_loss(std::span<const MeasuredLoss> measured, double error);

class SensitivityProbe {
 public:
  // Errors as calibration's; invalid_argument when there is no text. `checkpoint` must outlive the probe.
  SensitivityProbe(const SourceModel& checkpoint, std::span<const CalibrationText> texts,
                   const SensitivityOptions& options, Machine& machine);
  SensitivityProbe(const SourceModel& checkpoint, const CalibrationTokens& scored, const CalibrationTokens& calibration,
                   const SensitivityOptions& options, Machine& machine);
  ~SensitivityProbe();

  Sensitivities measure();
  // Of whole recipes, all their changes together.
  std::vector<double> divergences(const std::vector<Recipe>& recipes);
  // The bytes of all tensors by a recipe.
  std::uint64_t bytes_of(const Recipe& recipe) const;
  // Whether candidates are llama.cpp's, of which its mixes are made, too; else they are the container's, or named.
  bool has_usual_candidates() const;
  // For each candidate all groups in it; those that cannot have it, in the next larger that they can.
  std::vector<Recipe> single_formats() const;
  // True when two recipes store every tensor alike.
  bool are_alike(const Recipe& a, const Recipe& b) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A probe's measure() alone.
Sensitivities measure_sensitivities(const SourceModel& checkpoint, std::span<const CalibrationText> texts,
                                    const SensitivityOptions& options, Machine& machine);

struct SolvedRecipe {
  Recipe recipe;
  std::uint64_t bytes = 0;  // of all tensors
  double bits_per_weight = 0, expected_kl = 0;
};

// Error(invalid_argument) when no mix meets the budget: says what the nearest would be.
SolvedRecipe solve_recipe(const Sensitivities& sensitivities, const Budget& budget);

// Before anything is measured: Error(invalid_argument) as solve_recipe's when not even the smallest formats meet a
// budget of size. Gives some recipe that meets it; a divergence is not judged.
Recipe require_reachable(const SourceModel& checkpoint, const SensitivityOptions& options, const Budget& budget);

}  // namespace nibble
