// SPDX-License-Identifier: Apache-2.0
//
// A small net as an ONNX model, every operation by the spelling in its own file: values and constants are f32,
// operators of opset 21.
#pragma once

#include "io/onnx/onnx_model.h"
#include "net/net.h"

namespace nibble {

// Error(unsupported): an operation that no standard operators say, by name.
OnnxModel spell_onnx(const Net& net);

}  // namespace nibble
