// SPDX-License-Identifier: Apache-2.0
#include "graph/graph.h"

#include <algorithm>
#include <string>
#include <unordered_set>

namespace nibble {

const Node* Graph::producer(ValueId value) const {
  const auto found = std::ranges::find(nodes, value, &Node::output);
  return found == nodes.end() ? nullptr : &*found;
}

bool Graph::is_passed(ValueId value) const {
  return std::ranges::find(passed, value, &Crossing::value) != passed.end();
}

std::vector<const Node*> Graph::consumers(ValueId value) const {
  std::vector<const Node*> found;
  for (const Node& node : nodes)
    for (const ValueId input : node.inputs)
      if (input == value) found.push_back(&node);
  return found;
}

std::vector<Dimensions> Graph::input_shapes(const Node& node) const {
  std::vector<Dimensions> shapes;
  for (const ValueId input : node.inputs) shapes.push_back(values[input]);
  return shapes;
}

std::vector<WeightUse> Graph::weights(const Node& node) const {
  const std::vector<Dimensions> shapes = input_shapes(node);
  return std::visit([&](const auto& operation) { return operation.weights(shapes); }, node.operation);
}

std::vector<WeightUse> Graph::weights() const {
  std::vector<WeightUse> all;
  std::unordered_set<std::string> seen;
  for (const Node& node : nodes)
    for (WeightUse& use : weights(node))
      if (seen.insert(use.part).second) all.push_back(std::move(use));
  return all;
}

std::vector<std::vector<float>> evaluate(const Graph& graph, std::size_t tokens,
                                         std::span<const std::vector<float>> given, std::span<const std::int32_t> ids,
                                         const std::function<std::span<const float>(std::string_view)>& weight) {
  std::vector<std::vector<float>> values(graph.values.size());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) values[graph.inputs[i]] = given[i];
  for (const Node& node : graph.nodes) {
    Operands operands{.tokens = tokens, .inputs = {}, .ids = ids, .weight = weight};
    for (const ValueId input : node.inputs) operands.inputs.emplace_back(values[input]);
    std::vector<float>& output = values[node.output];
    output.resize(tokens * numbers_per_token(graph.values[node.output]));
    const std::vector<Dimensions> shapes = graph.input_shapes(node);
    std::visit([&](const auto& operation) { operation.evaluate(operands, shapes, output); }, node.operation);
  }
  std::vector<std::vector<float>> outputs;
  for (const ValueId output : graph.outputs) outputs.push_back(values[output]);
  return outputs;
}

}  // namespace nibble
