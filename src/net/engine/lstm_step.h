// SPDX-License-Identifier: Apache-2.0
//
// Long short-term memory in f32: all steps' products with x at once, then step by step those with what is remembered.
#pragma once

#include <span>

#include "graph/op/lstm.h"
#include "net/engine/step.h"

namespace nibble::net_engine {

// Whether the step is for it: gates by sigmoid and tanh, nothing clipped, coupled or looked into.
bool has_lstm_step(const Lstm& op);

struct LstmViews {
  View x, first_hidden, first_cell, y;  // rows
  View gates, memory;  // room: [steps, batch, 4 * hidden], and 4 + 3 numbers for each of [batch, hidden]
};
struct LstmWeights {
  std::span<const float> inputs, recurrent, bias;  // as the operation's parts; bias: may be empty
};
StepPointer lstm_step(const Lstm& op, const LstmViews& views, const LstmWeights& weights);

}  // namespace nibble::net_engine
