// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/onnx/flat_network.h"

#include <map>
#include <string>

#include "nibble/error.h"

namespace nibble {
namespace {

class Flattening {
 public:
  void add(const DrawnGraph& drawn, std::int64_t layer) {
    const Graph& graph = drawn.graph;
    std::vector<std::size_t> values(graph.values.size());  // by the drawing's
    std::size_t beside = 0;
    for (const ValueId input : graph.inputs) {
      const Crossing* received = nullptr;
      for (const Crossing& crossing : graph.received)
        if (crossing.value == input) received = &crossing;
      if (received != nullptr)
        values[input] = crossing(Network::name_of(*received, layer));
      else if (beside++ == 0)
        values[input] = stream_;
      else
        refuse();
    }
    for (const Node& node : graph.nodes) {
      FlatNode flat{&node, layer, {}, flat_.producer.size(), graph.input_shapes(node), nullptr};
      const bool is_attention = std::holds_alternative<Attention>(node.operation);
      if (is_attention && node.state) flat.keys = &graph.states[*node.state];
      flat_.producer.push_back(flat_.nodes.size());
      flat_.readers.emplace_back();
      for (const ValueId input : node.inputs) {
        flat.inputs.push_back(values[input]);
        flat_.readers[values[input]].push_back(flat_.nodes.size());
      }
      values[node.output] = flat.output;
      flat_.nodes.push_back(std::move(flat));
    }
    for (const Crossing& crossing : graph.passed) crossing_[Network::name_of(crossing, layer)] = values[crossing.value];
    for (const ValueId output : graph.outputs)
      if (!graph.is_passed(output) || graph.outputs.size() == 1) {
        stream_ = values[output];
        break;
      }
  }

  FlatNetwork finish() && {
    flat_.logits = stream_;
    return std::move(flat_);
  }

 private:
  [[noreturn]] static void refuse() {
    throw Error(ErrorKind::unsupported,
                "layers that hand on more than one value are not drawn as an ONNX graph; choose another container");
  }
  std::size_t crossing(const std::string& name) const {
    const auto found = crossing_.find(name);
    if (found == crossing_.end()) refuse();
    return found->second;
  }

  FlatNetwork flat_;
  std::map<std::string, std::size_t> crossing_;
  std::size_t stream_ = 0;
};

}  // namespace

FlatNetwork flatten(const Network& network) {
  Flattening flattening;
  flattening.add(network.begin(), Network::kBegin);
  for (std::int64_t layer = 0; layer < network.num_layers(); ++layer) flattening.add(network.layer(layer), layer);
  flattening.add(network.end(), network.num_layers());
  return std::move(flattening).finish();
}

}  // namespace nibble
