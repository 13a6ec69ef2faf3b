// SPDX-License-Identifier: Apache-2.0
//
// Packages that the model builder of ONNX Runtime GenAI has written: their constants by the names that it gives them,
// and the network by what the graph's operators and genai_config.json say of it. Of Llama, Mistral, Qwen 2 and Qwen 3,
// with matrices in MatMulNBits. Internal to onnx/. Pure functions.
//
//   if (is_builder_model(model)) for (const OnnxTensor& tensor : builder_tensors(model, settings, source)) add(tensor);
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/onnx/onnx_model.h"
#include "io/onnx/tensor_list.h"

namespace nibble {

inline constexpr const char* kGenaiSettings = "genai_config.json";

bool is_builder_model(const OnnxModel& model);

// By the names of a Hugging Face directory; of joined matrices each with its rows. settings: the text of
// genai_config.json. Error(unsupported): a family that is not read, a constant that has no such name, matrices in
// floating point; Error(corrupt) where operators do not fit each other. source: for messages.
std::vector<OnnxTensor> builder_tensors(const OnnxModel& model, const std::string& settings, const std::string& source);

// What config.json says of the same network, where there is none. floats_of: the numbers of a constant in f32, by its
// name. Error(unsupported): positions that turn by other frequencies than powers of one number.
std::string builder_config(const OnnxModel& model, const std::string& settings,
                           const std::function<std::vector<float>(std::string_view)>& floats_of,
                           const std::string& source);

}  // namespace nibble
