// SPDX-License-Identifier: Apache-2.0
//
// The one list of operations. A new one is a file beside this and a line here; what it must say of itself is
// OperationType.
#pragma once

#include <variant>

#include "graph/op/add.h"
#include "graph/op/attention.h"
#include "graph/op/batch_norm.h"
#include "graph/op/binary.h"
#include "graph/op/causal_convolution.h"
#include "graph/op/clamped_swiglu.h"
#include "graph/op/concat.h"
#include "graph/op/constant.h"
#include "graph/op/convolution.h"
#include "graph/op/dequantize.h"
#include "graph/op/dynamic_range.h"
#include "graph/op/embedding.h"
#include "graph/op/expand.h"
#include "graph/op/expert_linear.h"
#include "graph/op/gain.h"
#include "graph/op/gated_delta_rule.h"
#include "graph/op/gather.h"
#include "graph/op/gelu.h"
#include "graph/op/gru.h"
#include "graph/op/l2_norm.h"
#include "graph/op/latent_attention.h"
#include "graph/op/layer_norm.h"
#include "graph/op/linear.h"
#include "graph/op/lstm.h"
#include "graph/op/matrix_product.h"
#include "graph/op/mix_experts.h"
#include "graph/op/multiply.h"
#include "graph/op/pad.h"
#include "graph/op/pooling.h"
#include "graph/op/position_scale.h"
#include "graph/op/quantize.h"
#include "graph/op/reduce.h"
#include "graph/op/reshape.h"
#include "graph/op/resize.h"
#include "graph/op/rms_norm.h"
#include "graph/op/rope.h"
#include "graph/op/route.h"
#include "graph/op/scale.h"
#include "graph/op/scale_tokens.h"
#include "graph/op/select.h"
#include "graph/op/sigmoid.h"
#include "graph/op/silu.h"
#include "graph/op/slice.h"
#include "graph/op/soft_cap.h"
#include "graph/op/softmax.h"
#include "graph/op/squared_relu.h"
#include "graph/op/strided_slice.h"
#include "graph/op/transpose.h"
#include "graph/op/transposed_convolution.h"
#include "graph/op/unary.h"

namespace nibble {

template <OperationType... T>
using OperationList = std::variant<T...>;

using Operation =
    OperationList<Add, Attention, BatchNorm, Binary, CausalConvolution, ClampedSwiglu, Concat, Constant, Convolution,
                  Dequantize, DynamicRange, Embedding, Expand, ExpertLinear, Gain, GatedDeltaRule, Gather, Gelu, Gru,
                  L2Norm, LatentAttention, LayerNorm, Linear, Lstm, MatrixProduct, MixExperts, Multiply, Pad, Pooling,
                  PositionScale, Quantize, Reduce, Reshape, Resize, RmsNorm, Rope, Route, Scale, ScaleTokens, Select,
                  Sigmoid, Silu, Slice, SoftCap, Softmax, SquaredRelu, StridedSlice, Transpose, TransposedConvolution,
                  Unary>;

}  // namespace nibble
