// SPDX-License-Identifier: Apache-2.0
//
// What is judged before ranks begin to quantize a model together. Internal to pipeline/.
#pragma once

#include <string>

#include "distribute/transport.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

// Error(invalid_argument) of what ranks do not share: gradients, learning, rotations and scales that make another model
// first.
void require_work_for_ranks(const QuantizePlan& plan, const QuantizeModelOptions& options);

// Collective. Error(invalid_argument) names a rank whose version, source, text or options are not the first's. key: as
// resume_key's.
void require_same_work(Transport& ranks, const std::string& key, const std::string& source_hash);

}  // namespace nibble
