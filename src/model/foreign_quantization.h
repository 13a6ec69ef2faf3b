// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints that another program has quantized: named, instead of missing tensors one by one. Internal to model/; safe from any thread.
//
//   refuse_foreign_quantization(config, checkpoint);  // before anything asks for "q_proj.weight"
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "io/checkpoint.h"

namespace nibble {

// Error(unsupported) names the method (quantization_config and its relatives, or the tensors that give it away) and the next step. A
// configuration that speaks of a method although the tensors are plain is fine.
void refuse_foreign_quantization(const nlohmann::ordered_json& config, const Checkpoint& checkpoint);

}  // namespace nibble
