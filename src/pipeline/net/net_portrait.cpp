// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/net_portrait.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace nibble {
namespace {

std::string name_of(const Net& net, ValueId value) {
  return net.names[value].empty() ? "%" + std::to_string(value) : net.names[value];
}

PortrayedWeights portray_weights(const Net& net, const Node& node) {
  PortrayedWeights found;
  bool is_first = true;
  for (const WeightUse& use : net.graph.weights(node)) {
    const std::span<const float> numbers = net.weight(use.part);
    found.parameters += numbers.size();
    for (const float number : numbers) {
      if (!std::isfinite(number)) {
        ++found.not_finite;
        continue;
      }
      if (use.role == TensorRole::bias) continue;
      found.low = is_first ? number : std::min(found.low, number);
      found.high = is_first ? number : std::max(found.high, number);
      is_first = false;
    }
  }
  return found;
}

}  // namespace

NetPortrait portray(const Net& net) {
  NetPortrait portrait;
  portrait.file = net.source;
  portrait.container = net.container;
  portrait.written = net.written;
  const auto port = [&](const NetPort& one) {
    return PortrayedPort{one.name, std::string(number_type_name(one.type)), extents_of(net.graph.values[one.value])};
  };
  for (const NetPort& input : net.inputs) portrait.inputs.push_back(port(input));
  for (const NetPort& output : net.outputs) portrait.outputs.push_back(port(output));
  std::map<std::string, std::uint64_t> kinds;
  std::set<std::string> counted;
  for (const Node& node : net.graph.nodes) {
    const PortrayedWeights weights = portray_weights(net, node);
    for (const WeightUse& use : net.graph.weights(node))
      if (counted.insert(use.part).second) portrait.parameters += net.weight(use.part).size();
    portrait.not_finite += weights.not_finite;
    if (std::holds_alternative<Constant>(node.operation)) continue;
    PortrayedOperation& made = portrait.operations.emplace_back();
    made.operation = operation_name(node.operation);
    made.name = net.names[node.output];
    made.shape = extents_of(net.graph.values[node.output]);
    made.weights = weights;
    for (const ValueId input : node.inputs) {
      const Node* const maker = net.graph.producer(input);
      const auto* const constant = maker == nullptr ? nullptr : std::get_if<Constant>(&maker->operation);
      made.inputs.push_back(constant != nullptr ? constant->part : name_of(net, input));
    }
    if (weights.parameters > 0 || std::holds_alternative<MatrixProduct>(node.operation))
      made.multiply_adds = work_of(net.graph, node);
    portrait.multiply_adds += made.multiply_adds;
    ++kinds[made.operation];
  }
  portrait.by_kind.assign(kinds.begin(), kinds.end());
  return portrait;
}

}  // namespace nibble
