// SPDX-License-Identifier: Apache-2.0
//
// What each group of tensors costs in each format, measured on text, and the mix that loses least within a budget.
//
// Directly: one group at a time is rounded to a probe format while all else stays as it is, and the divergence of the predictions is
// measured (the layers before the group are walked once for all). Second order: the same group's loss in another format is that
// divergence times the ratio of the squared errors, weighted by the mean squares of its inputs.
//
//   Sensitivities s = measure_sensitivities(checkpoint, tokens, {}, pool);
//   Recipe recipe = solve_recipe(s, {.bits_per_weight = 4.5});
#pragma once

#include <filesystem>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "calibrate/calibration_text.h"
#include "io/checkpoint.h"
#include "kernels/linear.h"
#include "nibble/progress.h"
#include "quantize/budget.h"
#include "quantize/recipe.h"

namespace nibble {

struct SensitivityOptions {
  std::vector<std::string> formats = {"q2_k", "q3_k", "iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0"};
  std::string probe = "q3_k";
  KernelOptions kernels{};
  SamplingOptions sampling{.samples = 16, .length = 256, .seed = 0};  // of texts
  std::filesystem::path spill_directory{};                            // as WalkOptions::spill_directory
  ProgressCallback progress{};                                        // stage "sensitivity", in layers
};

struct Sensitivities {
  std::vector<BudgetItem> items;  // fused groups share a format: q k v, gate up
  std::uint64_t fixed_bytes = 0;  // of what is never quantized
  std::uint64_t parameters = 0;   // all of them
};

// Formats that cannot hold a tensor's rows count as what takes their place. Errors as calibration's.
Sensitivities measure_sensitivities(const Checkpoint& checkpoint, const CalibrationTokens& tokens, const SensitivityOptions& options,
                                    ThreadPool& pool);

// The same on a few windows drawn from texts.
Sensitivities measure_sensitivities(const Checkpoint& checkpoint, std::span<const CalibrationText> texts, const SensitivityOptions& options,
                                    ThreadPool& pool);

// Exactly one is given.
struct Budget {
  std::optional<double> bits_per_weight{};  // of all tensors
  std::optional<std::uint64_t> bytes{};     // the same in bytes
  std::optional<double> max_kl{};           // expected divergence, in nats
};

struct SolvedRecipe {
  Recipe recipe;
  std::uint64_t bytes = 0;  // of all tensors
  double bits_per_weight = 0, expected_kl = 0;
};

// Error(invalid_argument) when no mix meets the budget: says what the nearest would be.
SolvedRecipe solve_recipe(const Sensitivities& sensitivities, const Budget& budget);

}  // namespace nibble
