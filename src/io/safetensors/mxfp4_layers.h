// SPDX-License-Identifier: Apache-2.0
//
// Matrices in OpenAI's MXFP4 in a Hugging Face directory: X_blocks and X_scales (io/packing/mxfp4.h) in place of X,
// which config.json's quantization_config speaks of. Safe from any thread.
//
//   if (has_mxfp4_layers(tensors) && says_mxfp4(config_json, directory)) assemble_mxfp4_layers(tensors, directory);
#pragma once

#include <string>
#include <vector>

#include "io/checkpoint.h"

namespace nibble {

bool has_mxfp4_layers(const std::vector<StoredTensor>& tensors);

// Whether the configuration's quant_method is mxfp4. Error(corrupt): no JSON. directory: for messages.
bool says_mxfp4(const std::string& config_json, const std::string& directory);

// Replaces blocks and scales by the matrix that they form, where the blocks were. Error(corrupt) names one whose scales
// are missing or do not fit, or that is there as it is as well.
void assemble_mxfp4_layers(std::vector<StoredTensor>& tensors, const std::string& directory);

}  // namespace nibble
