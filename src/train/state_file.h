// SPDX-License-Identifier: Apache-2.0
//
// Where a run of training stands, in a file from which another process goes on as if nothing had happened. A
// safetensors file: an F32 tensor for each run of numbers; __metadata__ has "format" = "nibble.training", "version" =
// "1", and JSON objects under "settings" (names to texts: what decides the course of the run), "counts" (names to whole
// numbers) and "figures" (names to numbers, exactly).
//
//   write_training_state({settings, counts, figures, tensors}, "run/state.safetensors");
//   read_training_state("run/state.safetensors", state);          // fills what `state` names
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace nibble {

struct StateTensor {
  std::string name;
  Shape shape;
  std::span<float> values;
};

struct TrainingState {
  std::map<std::string, std::string> settings{};
  std::map<std::string, std::uint64_t> counts{};  // steps, passes, rows
  std::map<std::string, double> figures{};        // losses; finite
  std::vector<StateTensor> tensors{};             // parameters, and what optimizers remember of them
};

// Under a temporary name, then renamed: whoever is killed meanwhile leaves the file of before.
void write_training_state(const TrainingState& state, const std::filesystem::path& path);

// Fills the tensors, counts and figures that `state` has, by their names. Error(invalid_argument): the run was begun
// with other settings, each named with both values; a tensor of another shape. Error(corrupt) names file and tensor;
// Error(unsupported) for files of another kind or version. Nothing of `state` is touched then.
void read_training_state(const std::filesystem::path& path, TrainingState& state);

// Of a tensor of the file, whatever the run; none: 0. Errors of files that are no state as read_training_state's.
std::uint64_t count_state_numbers(const std::filesystem::path& path, std::string_view tensor);

}  // namespace nibble
