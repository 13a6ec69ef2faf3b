// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/sample_walk.h"

#include <algorithm>
#include <cmath>

#include "net/quantize/sample_products.h"

namespace nibble {

SampleValues evaluate_samples(const Net& net, const Node& node, std::span<const SampleValues* const> inputs,
                              const NumbersByPart* instead, Machine& machine) {
  const std::vector<Dimensions> shapes = net.graph.input_shapes(node);
  // Constants, which stand once, do not say how many samples there are.
  std::size_t count = 1;
  for (const SampleValues* const input : inputs) count = std::max(count, input->size());
  const auto weight = [&](std::string_view part) -> std::span<const float> {
    if (instead != nullptr)
      if (const auto found = instead->find(part); found != instead->end()) return found->second;
    return net.weight(part);
  };
  SampleValues made(count);
  if (!inputs.empty() && inputs[0]->size() == count &&
      multiply_samples(node, shapes, *inputs[0], weight, machine, made))
    return made;
  ThreadPool& pool = machine.pool;
  const auto make = [&](std::size_t sample, ThreadPool* inner) {
    std::vector<std::span<const float>> spans;
    for (const SampleValues* const input : inputs) spans.emplace_back((*input)[input->size() == 1 ? 0 : sample]);
    made[sample] = evaluate_operation(node.operation, shapes, spans, weight, inner);
  };
  if (count < pool.num_threads()) {
    for (std::size_t sample = 0; sample < count; ++sample) make(sample, &pool);
  } else {
    pool.parallel_for(count, 1, [&](std::size_t begin, std::size_t, std::size_t) { make(begin, nullptr); });
  }
  return made;
}

std::vector<NetSample> walk_samples(const Net& net, std::span<const NetSample> samples, Machine& machine,
                                    const SampleWalk& walk) {
  const Graph& graph = net.graph;
  std::vector<SampleValues> values(graph.values.size());
  std::vector<std::size_t> last_use(graph.values.size(), 0);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    for (const ValueId input : graph.nodes[i].inputs) last_use[input] = i;
  for (const ValueId output : graph.outputs) last_use[output] = graph.nodes.size();
  for (std::size_t i = 0; i < net.inputs.size(); ++i) {
    SampleValues& made = values[net.inputs[i].value];
    for (const NetSample& sample : samples) made.push_back(sample[i]);
    if (walk.see) walk.see(net.inputs[i].value, made);
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    std::vector<const SampleValues*> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(&values[input]);
    SampleValues& made = values[node.output] = evaluate_samples(net, node, inputs, walk.instead, machine);
    if (walk.see) walk.see(node.output, made);
    for (const ValueId input : node.inputs)
      if (last_use[input] == i) SampleValues().swap(values[input]);
  }
  std::vector<NetSample> outputs(samples.size());
  for (const NetPort& port : net.outputs)
    for (std::size_t sample = 0; sample < samples.size(); ++sample) {
      const SampleValues& made = values[port.value];
      outputs[sample].push_back(made[made.size() == 1 ? 0 : sample]);
    }
  return outputs;
}

void round_to_grid(const ActivationGrid& grid, std::span<float> numbers) {
  const auto zero = static_cast<float>(grid.zero);
  constexpr auto kLow = static_cast<float>(kLowestActivation), kHigh = static_cast<float>(kHighestActivation);
  for (float& x : numbers)
    x = (std::min(std::max(std::nearbyint(x / grid.scale) + zero, kLow), kHigh) - zero) * grid.scale;
}

}  // namespace nibble
