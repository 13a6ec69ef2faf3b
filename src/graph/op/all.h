// SPDX-License-Identifier: Apache-2.0
//
// The one list of operations. A new one is a file beside this and a line here; what it must say of itself is
// OperationType.
#pragma once

#include <variant>

#include "graph/op/add.h"
#include "graph/op/attention.h"
#include "graph/op/causal_convolution.h"
#include "graph/op/clamped_swiglu.h"
#include "graph/op/embedding.h"
#include "graph/op/expert_linear.h"
#include "graph/op/gain.h"
#include "graph/op/gated_delta_rule.h"
#include "graph/op/gelu.h"
#include "graph/op/l2_norm.h"
#include "graph/op/linear.h"
#include "graph/op/mix_experts.h"
#include "graph/op/multiply.h"
#include "graph/op/position_scale.h"
#include "graph/op/rms_norm.h"
#include "graph/op/rope.h"
#include "graph/op/route.h"
#include "graph/op/scale.h"
#include "graph/op/scale_tokens.h"
#include "graph/op/sigmoid.h"
#include "graph/op/silu.h"
#include "graph/op/slice.h"
#include "graph/op/soft_cap.h"

namespace nibble {

template <OperationType... T>
using OperationList = std::variant<T...>;

using Operation = OperationList<Add, Attention, CausalConvolution, ClampedSwiglu, Embedding, ExpertLinear, Gain,
                                GatedDeltaRule, Gelu, L2Norm, Linear, MixExperts, Multiply, PositionScale, RmsNorm,
                                Rope, Route, Scale, ScaleTokens, Sigmoid, Silu, Slice, SoftCap>;

}  // namespace nibble
