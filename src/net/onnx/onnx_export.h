// SPDX-License-Identifier: Apache-2.0
//
// A small net as an ONNX model, by the spellings in the operations' own files and by operators that runtimes know
// better: Gemm, global pooling, LSTM and GRU, and codes where a quantization stands before what reads it. Operators are
// those of opset 13, or of the first later one that has all that the net needs.
#pragma once

#include "io/onnx/onnx_model.h"
#include "net/net.h"
#include "net/weight_codes.h"

namespace nibble {

// Codes of one and two bits: side by side in bytes, which standard operators take apart when a runtime loads the file;
// or as int4, as codes of up to four bits are.
enum class FewBits { packed, int4 };

// codes: of parts that are stored so, others than FewBits::packed each behind a DequantizeLinear. Error(unsupported):
// an operation that no standard operators say, by name.
OnnxModel spell_onnx(const Net& net, const NetCodes& codes = {}, FewBits few = FewBits::packed);

}  // namespace nibble
