// SPDX-License-Identifier: Apache-2.0
//
// Signs of values, which products of one bit multiply: 1 where a number is at least 0, else -1. ONNX's Sign makes 0 of
// 0, so a net says it by a comparison and a choice. Pure functions.
//
//   const ValueId signs = add_signs(net, x);           // and whoever read x reads signs
//   if (const auto x = signs_of(net, node)) ...        // node makes the signs of x
#pragma once

#include <optional>
#include <vector>

#include "net/net.h"

namespace nibble {

// Nodes by the value that they make; null: an input.
std::vector<const Node*> makers_of(const Graph& graph);
// The value that a node makes signs of; nothing: it makes something else.
std::optional<ValueId> signs_of(const Net& net, const std::vector<const Node*>& makers, const Node& node);

// Between a value and those that read it now. Returns the signs.
ValueId put_signs_behind(Net& net, ValueId x);

}  // namespace nibble
