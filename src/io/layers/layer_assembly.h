// SPDX-License-Identifier: Apache-2.0
//
// Layers of a Hugging Face directory that another program has quantized, put together as one weight each where their
// codes were. Safe from any thread.
//
//   const LayerReading reading = assemble_quantized_layers(parts.tensors, parts.config_json, read_side_file, "model");
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.h"

namespace nibble {

// Replaces the tensors of each layer by the weight that they form. Where the method, or one of its settings, is not
// read here the tensors stay as they are and the result says why. Error(corrupt) names a layer whose tensors are not
// all there or do not fit each other, or whose weight is there as well; Error(unsupported) one in a layout that no
// format here has. directory: for messages.
LayerReading assemble_quantized_layers(
    std::vector<StoredTensor>& tensors, const std::string& config_json,
    const std::function<std::optional<std::string>(const std::string&)>& read_side_file, const std::string& directory);

}  // namespace nibble
