// SPDX-License-Identifier: Apache-2.0
//
// A quantized model whose scales, norms and biases, and codes where that is asked for, are trained to predict what the
// original does, written into the container that it lies in. While it runs its state lies beside the output; a run that
// was killed goes on there, and ends in the same bytes. One caller at a time.
//
//   const DistillSummary summary = distill_model(quantized, original, request, machine);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "train/grid_distillation.h"

namespace nibble {

struct DistillRequest {
  std::string text;        // documents between blank lines, as DocumentOptions say
  std::string validation;  // empty: held_out of the text
  double held_out = 0.1;
  DocumentOptions documents{};
  DistillationSettings settings{};
  std::string container;           // a name of pipeline/export/; empty: as the output's name ends, or the model's own
  std::uint64_t save_every = 100;  // steps
  std::filesystem::path output;
  ProgressCallback progress = {};                          // stages "distill", in steps, "compare" and "quantize"
  std::function<void(const std::string& note)> note = {};  // what is known before the first step
};

struct DistillSummary {
  std::filesystem::path output;
  std::uint64_t bytes = 0, tokens = 0;      // of the output's weight files; of the training text
  std::uint64_t matrices = 0, numbers = 0;  // trained
  std::uint64_t coded = 0;                  // of the matrices, those whose codes were trained, too
  bool trains_embedding = false;            // or the head: in floating point, beside the matrices
  std::uint64_t steps = 0, resumed_at = 0;
  bool stopped_early = false;
  std::vector<std::string> left_alone{};  // quantized matrices that could not be trained, and why
  std::vector<LossPoint> judgements{};
  std::optional<LossPoint> kept{};  // whose numbers were written
};

// The numbers of `quantized` are replaced by the trained ones. Errors name what to change: models of two networks, a
// container that is not written here (or cannot hold the model: before any work), a text shorter than a batch, memory
// that does not suffice, a loss that is none, a state of other settings. Error(cancelled): the state is saved.
DistillSummary distill_model(SourceModel& quantized, const SourceModel& original, const DistillRequest& request,
                             Machine& machine);

}  // namespace nibble
