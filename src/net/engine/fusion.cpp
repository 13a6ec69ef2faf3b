// SPDX-License-Identifier: Apache-2.0
#include "net/engine/fusion.h"

namespace nibble::net_engine {
namespace {

bool is_product(const Node& node) {
  return std::holds_alternative<Convolution>(node.operation) || std::holds_alternative<Linear>(node.operation);
}

// Each channel by itself: such convolutions add nothing on their way.
bool is_channelwise(const Graph& graph, const Node& node) {
  const auto* const op = std::get_if<Convolution>(&node.operation);
  return op != nullptr && op->groups > 1 && op->groups == graph.values[node.inputs[0]][1].extent;
}

bool adds(const Node& node) {
  const auto* const binary = std::get_if<Binary>(&node.operation);
  return std::holds_alternative<Add>(node.operation) || (binary != nullptr && binary->kind == Binary::Kind::add);
}

}  // namespace

Readers::Readers(const Graph& graph) : graph_(graph), maker_(graph.values.size()), count_(graph.values.size()) {
  for (const Node& node : graph.nodes) {
    maker_[node.output] = &node;
    for (const ValueId input : node.inputs) ++count_[input];
  }
  for (const ValueId output : graph.outputs) count_[output] += 2;
}

std::optional<FloatFusion> float_fusion(const Graph& graph, const Readers& readers, const Node& end,
                                        std::vector<bool>& absorbed) {
  FloatFusion fusion;
  const Node* node = &end;
  std::vector<const Node*> inside;
  if (const auto* const op = std::get_if<Unary>(&end.operation)) {
    const bool is_relu = op->kind == Unary::Kind::relu;
    if (!is_relu && op->kind != Unary::Kind::clip) return std::nullopt;
    fusion.low = is_relu ? 0 : op->a;
    if (!is_relu) fusion.high = op->b;
    node = readers.sole_maker(end.inputs[0]);
    if (node == nullptr) return std::nullopt;
    inside.push_back(node);
  }
  if (adds(*node) && graph.values[node->inputs[0]] == graph.values[node->inputs[1]]) {
    for (const std::size_t i : {std::size_t{1}, std::size_t{0}}) {
      const Node* const maker = readers.sole_maker(node->inputs[i]);
      if (maker == nullptr || !is_product(*maker) || is_channelwise(graph, *maker)) continue;
      fusion.added = node->inputs[1 - i];
      inside.push_back(maker);
      node = maker;
      break;
    }
  }
  if (!is_product(*node)) return std::nullopt;
  fusion.product = node;
  for (const Node* const one : inside) absorbed[readers.place(*one)] = true;
  return fusion;
}

}  // namespace nibble::net_engine
