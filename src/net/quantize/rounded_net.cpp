// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/rounded_net.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/simplify.h"

namespace nibble {
namespace {

class RoundedDrawing {
 public:
  RoundedDrawing(Net net, const ValueGrids& grids, NetRuntime runtime)
      : net_(std::move(net)),
        grids_(grids),
        is_signed_(runtime == NetRuntime::tensorrt),
        reads_(net_.graph.values.size()) {
    for (ValueId value = 0; value < reads_.size(); ++value) reads_[value] = value;
  }

  Net draw() && {
    std::vector<Node> nodes;
    nodes.swap(net_.graph.nodes);
    for (const NetPort& input : net_.inputs) round(input.value);
    for (Node& node : nodes) {
      for (ValueId& input : node.inputs) input = reads_[input];
      const ValueId made = node.output;
      net_.graph.nodes.push_back(std::move(node));
      round(made);
    }
    for (ValueId& output : net_.graph.outputs) output = reads_[output];
    for (NetPort& output : net_.outputs) output.value = reads_[output.value];
    remove_unused(net_);
    return std::move(net_);
  }

 private:
  void round(ValueId value) {
    const auto grid = grids_.find(value);
    if (grid == grids_.end()) return;
    const std::string name = net_.names[value].empty() ? fmt::format("v{}", value) : net_.names[value];
    const ValueId scale = number(name + "/scale", grid->second.scale);
    const ValueId zero =
        number(name + "/zero", static_cast<float>(grid->second.zero + (is_signed_ ? 0 : -kLowestActivation)));
    const Quantize quantize = is_signed_ ? Quantize{-128, 127, 0} : Quantize{0, 255, 0};
    const ValueId codes = apply(quantize, {value, scale, zero}, net_.graph.values[value]);
    reads_[value] = apply(Dequantize{0}, {codes, scale, zero}, net_.graph.values[value]);
  }

  ValueId number(const std::string& wanted, float number) {
    std::string part = wanted;
    for (std::size_t i = 1; net_.weights.contains(part); ++i) part = fmt::format("{}_{}", wanted, i);
    net_.weights[part] = {number};
    return apply(Constant{part, {}}, {}, {});
  }

  ValueId apply(Operation operation, std::vector<ValueId> inputs, Dimensions shape) {
    const auto id = static_cast<ValueId>(net_.graph.values.size());
    net_.graph.values.push_back(std::move(shape));
    net_.names.emplace_back();
    net_.graph.nodes.push_back({std::move(operation), std::move(inputs), id, std::nullopt});
    return id;
  }

  Net net_;
  const ValueGrids& grids_;
  bool is_signed_;
  std::vector<ValueId> reads_;  // by value: what its readers read now
};

}  // namespace

Net draw_rounding(const Net& net, const ValueGrids& grids, const NumbersByPart& weights, NetRuntime runtime) {
  Net copy = net;
  for (const auto& [part, numbers] : weights) copy.weights.find(part)->second = numbers;
  return RoundedDrawing(std::move(copy), grids, runtime).draw();
}

}  // namespace nibble
