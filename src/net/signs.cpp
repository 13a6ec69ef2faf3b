// SPDX-License-Identifier: Apache-2.0
#include "net/signs.h"

#include <algorithm>
#include <string>

namespace nibble {
namespace {

bool is_number(const Net& net, const std::vector<const Node*>& makers, ValueId value, float number) {
  const Node* const maker = makers[value];
  const auto* const constant = maker == nullptr ? nullptr : std::get_if<Constant>(&maker->operation);
  if (constant == nullptr) return false;
  const std::span<const float> numbers = net.weight(constant->part);
  return numbers.size() == 1 && numbers[0] == number;
}

}  // namespace

std::vector<const Node*> makers_of(const Graph& graph) {
  std::vector<const Node*> makers(graph.values.size());
  for (const Node& node : graph.nodes) makers[node.output] = &node;
  return makers;
}

std::optional<ValueId> signs_of(const Net& net, const std::vector<const Node*>& makers, const Node& node) {
  if (!std::holds_alternative<Select>(node.operation)) return std::nullopt;
  if (!is_number(net, makers, node.inputs[1], 1) || !is_number(net, makers, node.inputs[2], -1)) return std::nullopt;
  const Node* asked = makers[node.inputs[0]];
  // Files turn truths into numbers and back.
  if (const auto* const cast = asked == nullptr ? nullptr : std::get_if<Unary>(&asked->operation);
      cast != nullptr && cast->kind == Unary::Kind::is_true)
    asked = makers[asked->inputs[0]];
  const auto* const binary = asked == nullptr ? nullptr : std::get_if<Binary>(&asked->operation);
  if (binary == nullptr || binary->kind != Binary::Kind::greater_or_equal) return std::nullopt;
  if (!is_number(net, makers, asked->inputs[1], 0)) return std::nullopt;
  if (net.graph.values[asked->inputs[0]] != net.graph.values[node.output]) return std::nullopt;
  return asked->inputs[0];
}

ValueId put_signs_behind(Net& net, ValueId x) {
  Graph& graph = net.graph;
  const auto next = [&](Dimensions shape) {
    graph.values.push_back(std::move(shape));
    net.names.emplace_back();
    return static_cast<ValueId>(graph.values.size() - 1);
  };
  const auto number = [&](const char* name, float value, std::vector<Node>& nodes) {
    std::string part = name;
    for (std::size_t i = 1; net.weights.contains(part) && net.weights.find(part)->second != std::vector<float>{value};
         ++i)
      part = name + std::to_string(i);
    net.weights[part] = {value};
    nodes.push_back({Constant{part, {}}, {}, next({}), std::nullopt});
    return nodes.back().output;
  };
  std::vector<Node> added;
  const ValueId zero = number("zero", 0, added), one = number("one", 1, added), minus = number("minus_one", -1, added);
  added.push_back({Binary{Binary::Kind::greater_or_equal}, {x, zero}, next(graph.values[x]), std::nullopt});
  const ValueId asked = added.back().output, signs = next(graph.values[x]);
  for (Node& node : graph.nodes) std::ranges::replace(node.inputs, x, signs);
  added.push_back({Select{}, {asked, one, minus}, signs, std::nullopt});
  const auto maker = std::ranges::find(graph.nodes, x, &Node::output);
  graph.nodes.insert(maker == graph.nodes.end() ? graph.nodes.begin() : maker + 1, added.begin(), added.end());
  return signs;
}

}  // namespace nibble
