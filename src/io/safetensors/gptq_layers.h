// SPDX-License-Identifier: Apache-2.0
//
// Layers that GPTQ has quantized, in a Hugging Face directory: P.qweight, P.qzeros, P.scales and perhaps P.g_idx
// (io/packing/gptq.h) in place of P.weight. config.json says how (quantization_config), or quantize_config.json beside
// it, which older programs wrote. Safe from any thread.
//
//   if (has_gptq_layers(tensors))
//     if (const auto plan = read_gptq_plan(config_json, quantize_config, directory))
//       assemble_gptq_layers(tensors, *plan, directory);
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "io/packing/gptq.h"

namespace nibble {

struct GptqPlan {
  GptqLayout layout;
  bool is_symmetric = false;  // some programs then look at no zero point
};

bool has_gptq_layers(const std::vector<StoredTensor>& tensors);

// nullopt where no GPTQ is spoken of, or one that is not read here (other checkpoint formats, widths, layers with
// settings of their own): such tensors stay as they are, for whoever asks for weights to name. Error(corrupt): no JSON.
// directory: for messages.
std::optional<GptqPlan> read_gptq_plan(const std::string& config_json,
                                       const std::optional<std::string>& quantize_config, const std::string& directory);

// Replaces the tensors of each layer by the weight that they form, where its codes were. Error(corrupt) names a layer
// whose tensors are not all there or do not fit, or whose weight is there as well; otherwise as read_gptq.
void assemble_gptq_layers(std::vector<StoredTensor>& tensors, const GptqPlan& plan, const std::string& directory);

}  // namespace nibble
