// SPDX-License-Identifier: Apache-2.0
//
// What a compiled net does between its products: numbers that are moved, and functions of each number.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "graph/graph.h"
#include "net/engine/step.h"

namespace nibble::net_engine {

// y becomes x, of the same shape and element.
StepPointer move_step(const View& x, const View& y);
// All numbers of a buffer that holds so many become one.
StepPointer fill_step(BufferId buffer, std::size_t numbers, float value);
// What lies around an image: channels last in `view`, with a border.
StepPointer border_step(const View& view, const Border& border, std::uint8_t code);

struct PointCall {
  PointFunction function = PointFunction::clip;
  float a = 0, b = 0;
};
// Nothing: there is no such loop.
std::optional<PointCall> point_call(const Operation& operation);
std::optional<PairFunction> pair_call(const Operation& operation);

StepPointer point_step(const PointCall& call, const View& x, const View& y);
StepPointer gelu_step(const View& x, const View& y);
StepPointer pair_step(PairFunction function, const View& a, const View& b, const View& y);

// The largest or the mean of windows over images; codes: the largest alone.
StepPointer pool_step(const Pooling& pooling, const Dimensions& shape, const View& x, const View& y);
// Along the last dimension of rows.
StepPointer softmax_step(const View& x, const View& y);

// By the reference arithmetic, of rows.
struct ReferenceCall {
  Operation operation;
  std::vector<Dimensions> shapes;
  std::vector<View> inputs;
  View output;
  std::function<std::span<const float>(std::string_view)> weight;
};
StepPointer reference_step(ReferenceCall call);

}  // namespace nibble::net_engine
