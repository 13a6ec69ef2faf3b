// SPDX-License-Identifier: Apache-2.0
//
// What a plan says of the output before it is written. Internal to pipeline/; pure.
#pragma once

#include <cstdint>

#include "model/source_model.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

// Of all tensors in the output.
std::uint64_t tensor_bytes(const QuantizePlan& plan);

// All but what is known of the files, and of what methods did.
QuantizeSummary summarize(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options);

}  // namespace nibble
