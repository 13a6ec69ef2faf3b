// SPDX-License-Identifier: Apache-2.0
//
// How long a network takes forwards and backwards, with gradients of all its weights: what a step of training costs
// beside the optimizer.
//
//   const std::vector<double> seconds = measure_training(model, {.batch = {8, 512}}, machine);
#pragma once

#include <cstddef>
#include <vector>

#include "model/source_model.h"
#include "nibble/progress.h"
#include "train/tape.h"

namespace nibble {

struct TrainingSpeedOptions {
  SequenceBatch batch = {8, 512};
  std::size_t repetitions = 3;
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  ProgressCallback progress = {};  // stage "train", in runs
};

// Seconds of each repetition, after one to warm up. The tokens are as good as random: the time does not depend on
// them. Error(cancelled).
std::vector<double> measure_training(const SourceModel& model, const TrainingSpeedOptions& options, Machine& machine);

}  // namespace nibble
