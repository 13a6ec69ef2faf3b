// SPDX-License-Identifier: Apache-2.0
//
// Operators that are written as opset 21 has them, turned into those of the earliest opset from 13 on that says the
// same: older runtimes read such files, too. Internal to net/onnx.
#pragma once

#include "io/onnx/onnx_model.h"

namespace nibble {

void fit_to_opset(OnnxModel& model);

}  // namespace nibble
