// SPDX-License-Identifier: Apache-2.0
//
// Which constants of an ONNX model are the tensors of a checkpoint, as its metadata says it:
//
//   "nibble.tensors": [{"name": "model.layers.0.self_attn.k_proj.weight", "shape": [128, 256],
//                       "values": "model.layers.0.attn.qkv_proj.MatMul.weight_Q4", "first": 256}, ...]
//
// and "step" where the rows of several matrices lie in turn.
//
// Internal to onnx/.
#pragma once

#include <string>
#include <vector>

#include "io/onnx/onnx_package.h"

namespace nibble {

inline constexpr const char* kOnnxTensorsKey = "nibble.tensors";

struct OnnxTensor {
  std::string name;
  Shape shape;
  std::string values;       // the initializer
  std::uint64_t first = 0;  // its row, of vectors its number
  std::uint64_t step = 1;   // rows from one to the next
};

std::string write_onnx_tensor_list(const std::vector<PlannedTensor>& plan, const std::vector<OnnxPlace>& places);
// Error(corrupt) names source.
std::vector<OnnxTensor> read_onnx_tensor_list(const std::string& text, const std::string& source);

}  // namespace nibble
