// SPDX-License-Identifier: Apache-2.0
//
// How parameters go down the slope of a loss. Arithmetic is that of PyTorch's optimizers of these names, in f32, each
// operation rounded by itself: the same bits for any number of threads and on any processor.
//
//   sgd     gradient descent with momentum
//   adamw   Loshchilov and Hutter 2019, arXiv:1711.05101
//   muon    matrices alone: momentum, then the nearest matrix with orthogonal rows or columns (Jordan 2024,
//           https://kellerjordan.github.io/posts/muon; its steps scaled by 0.2 sqrt(max(rows, cols)) as Liu et al.
//           2025, arXiv:2502.16982, so that rates of adamw do)
//   sign    every number goes by the rate, whatever the size of its slope; where that is 0 it stays (Bernstein et al.
//           2018, arXiv:1802.04434, without momentum)
//
//   Optimizer optimizer(AdamWSettings{.rate = 1e-3}, parameters);
//   optimizer.step(parameters, {.rate_factor = rate_factor(schedule, step)}, machine);
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/machine.h"
#include "kernels/training/adam_step.h"
#include "train/parameter.h"

namespace nibble {

struct SgdSettings {
  double rate = 0.01, momentum = 0.9, weight_decay = 0;
  bool is_nesterov = false;
};

struct MuonSettings {
  double rate = 1e-3, momentum = 0.95, weight_decay = 0.1;
  bool is_nesterov = true;
  unsigned iterations = 5;  // towards the orthogonal matrix
};

struct SignSettings {
  double rate = 0.005;
};

using OptimizerSettings = std::variant<SgdSettings, AdamWSettings, MuonSettings, SignSettings>;

// What changes from step to step.
struct StepScale {
  double rate_factor = 1;      // of the rate of the settings
  double gradient_factor = 1;  // of the gradient: 1 / batches summed, times what clipping leaves of it
};

// What an optimizer remembers of a parameter under the name by which a state file has it.
struct OptimizerMemory {
  std::string_view name;    // "momentum", "mean", "mean_square"
  std::span<float> values;  // as the parameter's
};

class Optimizer {
 public:
  // For parameters of these sizes, in this order in every step. Error(invalid_argument): settings that no step can be
  // made by (the setting is named), a vector given to muon.
  Optimizer(const OptimizerSettings& settings, std::span<const Parameter> parameters);

  // Changes the values. Not-a-number slopes make values that are none: judge the loss or the norm before.
  void step(std::span<const Parameter> parameters, const StepScale& scale, Machine& machine);

  std::uint64_t steps() const noexcept { return steps_; }
  const OptimizerSettings& settings() const noexcept { return settings_; }
  // Of the parameter of this index, to be written to a state file and read back.
  std::vector<OptimizerMemory> memory(std::size_t index);
  void set_steps(std::uint64_t steps) noexcept { steps_ = steps; }

 private:
  OptimizerSettings settings_;
  std::uint64_t steps_ = 0;
  std::vector<std::vector<float>> first_, second_;  // momentum or mean; mean square
};

}  // namespace nibble
