// SPDX-License-Identifier: Apache-2.0
//
// Kernels, strides, dilations and pads as ONNX says them. Internal to net/onnx.
#pragma once

#include "net/onnx/node_view.h"

namespace nibble {

// The dimensions of weights behind the first two.
Extents spatial(const NetValue& weights);
// taps: of weights; empty: kernel_shape says them.
Window read_window(NodeView& n, const NetValue& x, Extents taps);
// The same, with output_padding and output_shape.
void read_transposed_window(NodeView& n, const NetValue& x, Extents taps, TransposedConvolution& op);

}  // namespace nibble
