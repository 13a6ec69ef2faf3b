// SPDX-License-Identifier: Apache-2.0
//
// A small net as a TensorFlow Lite model: float operators and, where a Quantize stands behind what reads Dequantizes
// alone, operators on codes of 8 bits with everything fused that runtimes fuse. Inputs and outputs keep the drawing's
// order of dimensions; within, channels come last.
//
//   require_tflite(net);   // before work is done for it
//   write(serialize_tflite(spell_tflite(made.net, made.codes)));
#pragma once

#include "io/tflite/tflite_model.h"
#include "net/net.h"
#include "net/weight_codes.h"

namespace nibble {

struct TfliteExportOptions {
  bool has_code_ports = false;  // inputs and outputs that are rounded at once are codes themselves
};

// codes: of parts that are stored so. Error(unsupported): all operations that no operators of TensorFlow Lite say, by
// name and node.
TfliteModel spell_tflite(const Net& net, const NetCodes& codes = {}, const TfliteExportOptions& options = {});
// The same error, of a net that is not rounded yet.
void require_tflite(const Net& net);

}  // namespace nibble
