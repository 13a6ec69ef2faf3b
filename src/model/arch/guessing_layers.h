// SPDX-License-Identifier: Apache-2.0
//
// Layers behind the others that guess further tokens (multi-token prediction; DeepSeek-AI 2024), which are not run:
// files have them or have lost them. Internal to model/.
#pragma once

#include "model/config.h"
#include "model/gguf_keys.h"
#include "model/huggingface_fields.h"

namespace nibble {

// num_nextn_predict_layers, or num_mtp_layers: beside num_hidden_layers.
void read_guessing_layers(const HuggingFaceFields& fields, ModelConfig& config);
// nextn_predict_layers: of GGUF's block_count, which they are taken off.
void leave_guessing_layers(const GgufKeys& keys, ModelConfig& config);

}  // namespace nibble
