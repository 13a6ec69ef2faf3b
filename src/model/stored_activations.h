// SPDX-License-Identifier: Apache-2.0
//
// How a checkpoint wants the inputs of its Linears rounded, as it is stored beside the weights so that the model runs
// alone:
//
//   GGUF          nibble.activations.format   "a8:static:asym"; "a8" is "a8:g128", as files that were written before
//   grains had a size mean it
//                 nibble.activations.tensors, .scales, .zero_points   names of weights and their inputs' grids, where
//                 the format is static
//   directory     config.json, quantization_config.input_activations: the scheme in compressed-tensors' words
//                 {"num_bits": 8, "type": "int", "symmetric": false, "strategy": "tensor", "dynamic": false}; dynamic
//                 ones have the strategies "token", and "group" with a "group_size" and, where some columns are wide,
//                 "wide_columns": true P.input_scale F32 [1] and, with a zero point, P.input_zero_point I8 [1] for the
//                 weight P.weight: x = scale * (code - zero_point)
//   layers that another program has quantized (Checkpoint::layer_reading)   the same tensors, scales in any type
//
// Pure functions.
//
//   StoredActivations stored = read_activations(checkpoint);
//   const ActivationGrid* grid = stored.find("blk.0.attn_q.weight");
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/activation_format.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"

namespace nibble {

struct StoredActivations {
  std::optional<ActivationFormat> format;  // none: the file says nothing
  std::map<std::string, ActivationGrid, std::less<>>
      grids;  // by the weight's name in the container, where the format is static

  const ActivationGrid* find(std::string_view weight) const;
};

// Error(corrupt): lists of unequal length, grids that no writer should have stored (names the tensor);
// Error(unsupported): a scheme not known here.
StoredActivations read_activations(const Checkpoint& checkpoint);

// Replaces what the metadata says of activations; nothing is left where the format is none.
void put_activations(const StoredActivations& activations, GgufMetadata& metadata);
// config.json with input_activations; as it is where the format is none.
std::string with_activations(const StoredActivations& activations, const std::string& config_json);
// P.input_scale and P.input_zero_point of every grid.
std::vector<SideTensor> activation_tensors(const StoredActivations& activations);

// What a model's format is at one site. Inputs of `down` are products of two activations, with many large columns that
// are others for each token: few of them are worth the time. The head, or the embedding where they are one, loses most,
// and is multiplied for few tokens of a prompt.
ActivationFormat activations_of_site(ActivationFormat format, std::string_view part);

// True for P.input_scale and P.input_zero_point, which are no weights.
bool is_activation_tensor(std::string_view name);

}  // namespace nibble
