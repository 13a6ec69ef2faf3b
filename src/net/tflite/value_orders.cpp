// SPDX-License-Identifier: Apache-2.0
#include "net/tflite/value_orders.h"

#include <algorithm>
#include <numeric>

namespace nibble {
namespace {

bool goes_over_windows(const Operation& op) {
  return std::holds_alternative<Convolution>(op) || std::holds_alternative<Pooling>(op) ||
         std::holds_alternative<TransposedConvolution>(op) || std::holds_alternative<Resize>(op);
}

// What does not ask in which order its numbers lie.
bool keeps_order(const Operation& op) {
  const auto* const reduce = std::get_if<Reduce>(&op);
  return std::holds_alternative<Unary>(op) || std::holds_alternative<Binary>(op) || std::holds_alternative<Add>(op) ||
         std::holds_alternative<Multiply>(op) || std::holds_alternative<Sigmoid>(op) ||
         std::holds_alternative<Silu>(op) || std::holds_alternative<Gelu>(op) || std::holds_alternative<Quantize>(op) ||
         std::holds_alternative<Dequantize>(op) || std::holds_alternative<Concat>(op) ||
         std::holds_alternative<Pad>(op) || std::holds_alternative<StridedSlice>(op) ||
         std::holds_alternative<BatchNorm>(op) || (reduce != nullptr && reduce->keeps_dimensions);
}

}  // namespace

std::vector<ValueOrder> value_orders(const Net& net) {
  const Graph& graph = net.graph;
  std::vector<ValueId> joined(graph.values.size());
  std::iota(joined.begin(), joined.end(), ValueId{0});
  const auto root = [&](ValueId value) {
    while (joined[value] != value) value = joined[value];
    return value;
  };
  std::vector<bool> is_constant(graph.values.size(), false), wants(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    is_constant[node.output] = std::holds_alternative<Constant>(node.operation);
    if (!keeps_order(node.operation)) continue;
    for (const ValueId input : node.inputs)
      if (!is_constant[input] && graph.values[input].size() == graph.values[node.output].size())
        joined[root(input)] = root(node.output);
  }
  for (const Node& node : graph.nodes)
    if (goes_over_windows(node.operation)) wants[root(node.inputs[0])] = wants[root(node.output)] = true;
  std::vector<ValueOrder> orders(graph.values.size(), ValueOrder::drawn);
  for (ValueId value = 0; value < orders.size(); ++value)
    if (wants[root(value)]) orders[value] = ValueOrder::channels_last;
  return orders;
}

std::vector<std::uint64_t> dimensions_of(ValueOrder order, std::size_t rank) {
  std::vector<std::uint64_t> dimensions(rank);
  std::iota(dimensions.begin(), dimensions.end(), std::uint64_t{0});
  if (order == ValueOrder::channels_last && rank > 2)
    std::rotate(dimensions.begin() + 1, dimensions.begin() + 2, dimensions.end());
  return dimensions;
}

std::uint64_t place_of(ValueOrder order, std::size_t rank, std::uint64_t dimension) {
  const std::vector<std::uint64_t> dimensions = dimensions_of(order, rank);
  return static_cast<std::uint64_t>(std::ranges::find(dimensions, dimension) - dimensions.begin());
}

}  // namespace nibble
