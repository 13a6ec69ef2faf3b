// SPDX-License-Identifier: Apache-2.0
//
// How the inputs of a quantized model's Linears are rounded: the format that was asked for and, where it is static, a
// grid for every Linear whose weights are quantized, from statistics or from text that is walked through the model.
// Internal to pipeline/.
#pragma once

#include "kernels/machine.h"
#include "model/stored_activations.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

struct ActivationPlan {
  StoredActivations stored;
  std::vector<std::string>
      warnings;  // a line each: calibration that is too little, weights whose inputs stay as they are
};

// Nothing asked for: the format is none. Error(invalid_argument): no weights are quantized; weights of formats that are
// multiplied in f32, all of them. Error(unusable_input): statistics that do not tell enough (names the site).
ActivationPlan plan_activations(const SourceModel& source, const QuantizePlan& plan,
                                const QuantizeModelOptions& options, Machine& machine,
                                const ProgressCallback& progress);

// True when scales are folded into the activations, so that static grids are those of the output, not of the source.
bool moves_activations(const QuantizePlan& plan, const QuantizeModelOptions& options);
// True when static grids are asked for beside such scales: they can be fitted once the weights are made, not before.
bool fits_grids_afterwards(const QuantizePlan& plan, const QuantizeModelOptions& options);

}  // namespace nibble
