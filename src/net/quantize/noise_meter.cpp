// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/noise_meter.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

// Less each row's mean, which a softmax does not see.
SampleValues centred(SampleValues values, std::uint64_t width) {
  for (std::vector<float>& sample : values)
    for (std::size_t first = 0; width > 0 && first + width <= sample.size(); first += width) {
      const std::span<float> row = std::span(sample).subspan(first, width);
      double sum = 0;
      for (const float x : row) sum += static_cast<double>(x);
      for (float& x : row) x -= static_cast<float>(sum / static_cast<double>(width));
    }
  return values;
}

void compare_rows(const SampleValues& made, const SampleValues& should, std::uint64_t width, OutputNoise& noise) {
  for (std::size_t sample = 0; sample < should.size(); ++sample)
    for (std::size_t first = 0; first + width <= should[sample].size(); first += width) {
      const auto choice = [&](const SampleValues& values) {
        const float* const row = values[sample].data() + first;
        return width == 1 ? static_cast<std::ptrdiff_t>(row[0] > 0.5F) : std::max_element(row, row + width) - row;
      };
      ++noise.rows;
      noise.same += choice(made) == choice(should) ? 1 : 0;
    }
}

}  // namespace

double decibels_of(double noise) {
  return noise > 0 ? -10 * std::log10(noise) : std::numeric_limits<double>::infinity();
}

double noise_of(const SampleValues& made, const SampleValues& should) {
  double power = 0, difference = 0;
  for (std::size_t sample = 0; sample < should.size(); ++sample)
    for (std::size_t i = 0; i < should[sample].size(); ++i) {
      const double x = static_cast<double>(should[sample][i]), d = static_cast<double>(made[sample][i]) - x;
      power += x * x;
      difference += d * d;
    }
  if (difference == 0) return 0;
  return power > 0 ? difference / power : std::numeric_limits<double>::infinity();
}

std::size_t most_samples(const Net& net) {
  constexpr std::uint64_t kMostKept = std::uint64_t{1} << 27;  // numbers: half a gigabyte
  std::uint64_t numbers = 1;
  for (const Dimensions& value : net.graph.values) numbers += numbers_of(value);
  return static_cast<std::size_t>(std::max<std::uint64_t>(1, kMostKept / numbers));
}

NoiseMeter::NoiseMeter(const Net& net, std::span<const NetSample> samples, Machine& machine)
    : net_(net), machine_(machine), count_(samples.size()), values_(net.graph.values.size()) {
  for (const NetPort& output : net.outputs) {
    const Node* const last = net.graph.producer(output.value);
    const bool saturates = last != nullptr && (std::holds_alternative<Softmax>(last->operation) ||
                                               std::holds_alternative<Sigmoid>(last->operation));
    deciding_.push_back(saturates ? last->inputs[0] : output.value);
    if (deciding_.size() > 1) continue;
    const ValueId decides = deciding_[0];
    leads_ = {std::max<std::uint64_t>(1, width_of(net.graph.values[decides])), saturates ? 0.0F : 0.5F};
  }
  walk_samples(net, samples, machine, {.see = [&](ValueId value, SampleValues& made) { values_[value] = made; }});
  if (!deciding_.empty()) leads_.add(values_[deciding_[0]]);
}

void NoiseMeter::see(ValueId value, const SampleValues& values) {
  if (!deciding_.empty() && value == deciding_[0]) leads_.add(values);
}

OutputNoise NoiseMeter::measure(const ValueGrids& grids, const NumbersByPart& weights) const {
  std::vector<double> ignored;
  return measure(grids, weights, ignored);
}

OutputNoise NoiseMeter::measure(const ValueGrids& grids, const NumbersByPart& weights,
                                std::vector<double>& by_value) const {
  const Graph& graph = net_.graph;
  const bool asks_values = !by_value.empty();
  std::vector<SampleValues> changed(graph.values.size());
  const auto value = [&](ValueId id) -> const SampleValues& { return changed[id].empty() ? values_[id] : changed[id]; };
  std::vector<std::size_t> last_use(graph.values.size(), 0);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    for (const ValueId input : graph.nodes[i].inputs) last_use[input] = i;
  for (const ValueId output : graph.outputs) last_use[output] = graph.nodes.size();
  for (const ValueId id : deciding_) last_use[id] = graph.nodes.size();
  const auto round = [&](ValueId id) {
    const auto grid = grids.find(id);
    if (grid == grids.end()) return;
    if (changed[id].empty()) changed[id] = values_[id];
    for (std::vector<float>& sample : changed[id]) round_to_grid(grid->second, sample);
  };
  for (const NetPort& input : net_.inputs) round(input.value);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    bool differs = std::ranges::any_of(node.inputs, [&](ValueId input) { return !changed[input].empty(); });
    for (const WeightUse& use : graph.weights(node)) differs = differs || weights.contains(use.part);
    if (differs) {
      std::vector<const SampleValues*> inputs;
      for (const ValueId input : node.inputs) inputs.push_back(&value(input));
      changed[node.output] = evaluate_samples(net_, node, inputs, &weights, machine_);
    }
    round(node.output);
    if (asks_values)
      by_value[node.output] = changed[node.output].empty() ? -1 : noise_of(changed[node.output], values_[node.output]);
    for (const ValueId input : node.inputs)
      if (last_use[input] == i) SampleValues().swap(changed[input]);
  }
  OutputNoise noise;
  for (const ValueId id : deciding_) {
    if (changed[id].empty()) continue;
    const std::uint64_t width = width_of(graph.values[id]);
    const bool is_of_softmax = std::ranges::any_of(
        graph.consumers(id), [](const Node* reader) { return std::holds_alternative<Softmax>(reader->operation); });
    noise.deciding =
        std::max(noise.deciding, is_of_softmax ? noise_of(centred(changed[id], width), centred(values_[id], width))
                                               : noise_of(changed[id], values_[id]));
  }
  for (const NetPort& output : net_.outputs) {
    noise.noise.push_back(changed[output.value].empty() ? 0 : noise_of(changed[output.value], values_[output.value]));
    noise.worst = std::max(noise.worst, noise.noise.back());
  }
  if (!net_.outputs.empty()) {
    const ValueId first = net_.outputs[0].value;
    compare_rows(value(first), values_[first], std::max<std::uint64_t>(1, width_of(graph.values[first])), noise);
    const ValueId decides = deciding_[0];
    noise.leads = leads_.count();
    if (!changed[decides].empty())
      noise.near = leads_.below(kNear * leads_.deviation(changed[decides], values_[decides]));
  }
  return noise;
}

}  // namespace nibble
