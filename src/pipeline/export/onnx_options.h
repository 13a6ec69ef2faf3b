// SPDX-License-Identifier: Apache-2.0
//
// What ONNX models may be written as beside their formats. Plain data.
#pragma once

#include <cstdint>

namespace nibble {

struct OnnxOptions {
  bool is_half = false;  // values, scales, keys and values in f16 in place of f32
  // How MatMulNBits treats its inputs: 0: as the runtime likes, exactly on processors, 1: f32, 2: f16, 3: bf16, 4: in 8
  // bits, a scale for each block.
  std::int64_t accuracy_level = 4;
  bool is_for_tensorrt = false;  // symmetric formats alone
  bool operator==(const OnnxOptions&) const = default;
};

}  // namespace nibble
