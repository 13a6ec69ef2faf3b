// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/adjustments.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "net/simplify.h"

namespace nibble {
namespace {

// How often each part is read.
std::map<std::string, std::size_t> uses_of(const Net& net) {
  std::map<std::string, std::size_t> uses;
  for (const Node& node : net.graph.nodes)
    for (const WeightUse& use : net.graph.weights(node)) ++uses[use.part];
  return uses;
}

// Convolution and Linear seen alike: rows make channels, columns read them.
struct Layer {
  std::string part, bias;  // bias: empty where there is none
  std::uint64_t rows = 0, cols = 0, groups = 1, taps = 1;
  std::uint64_t plane = 1;  // numbers of each channel that lie together in what it makes
};

std::optional<Layer> layer_of(const Net& net, const Node& node) {
  const Dimensions& x = net.graph.values[node.inputs.empty() ? node.output : node.inputs[0]];
  if (const auto* const op = std::get_if<Convolution>(&node.operation))
    return Layer{op->part,
                 op->bias(),
                 op->outputs,
                 x[1].extent,
                 op->groups,
                 op->window.num_taps(),
                 numbers_of(net.graph.values[node.output]) / (x[0].extent * op->outputs)};
  if (const auto* const op = std::get_if<Linear>(&node.operation))
    return Layer{op->part, op->bias(), op->rows, width_of(x), 1, 1};
  return std::nullopt;
}

bool passes_factors(const Node& node, bool is_linear) {
  if (const auto* const unary = std::get_if<Unary>(&node.operation))
    return unary->kind == Unary::Kind::relu || unary->kind == Unary::Kind::leaky_relu;
  return std::holds_alternative<Pooling>(node.operation) && !is_linear;
}

// Calls body(input channel, place in the weights) for each weight.
template <class Body>
void for_each_column(const Layer& layer, Body body) {
  const std::uint64_t in_group = layer.cols / layer.groups, out_group = layer.rows / layer.groups;
  for (std::uint64_t row = 0; row < layer.rows; ++row)
    for (std::uint64_t c = 0; c < in_group; ++c)
      for (std::uint64_t tap = 0; tap < layer.taps; ++tap)
        body(row / out_group * in_group + c, (row * in_group + c) * layer.taps + tap);
}

// The largest change of a factor, as its logarithm.
double equalize_pair(Net& net, const Layer& maker, const Layer& reader) {
  std::vector<float>&w = net.weights.find(maker.part)->second, &v = net.weights.find(reader.part)->second;
  const std::size_t length = w.size() / maker.rows;
  std::vector<float> made(maker.rows, 0), read(maker.rows, 0);
  for (std::size_t i = 0; i < w.size(); ++i) made[i / length] = std::max(made[i / length], std::abs(w[i]));
  for_each_column(reader, [&](std::uint64_t c, std::uint64_t at) { read[c] = std::max(read[c], std::abs(v[at])); });
  std::vector<float> factor(maker.rows, 1);
  double largest = 0;
  for (std::size_t c = 0; c < factor.size(); ++c) {
    if (!(made[c] > 1e-8F && read[c] > 1e-8F)) continue;
    factor[c] = std::sqrt(made[c] / read[c]);
    largest = std::max(largest, std::abs(std::log(static_cast<double>(factor[c]))));
  }
  for (std::size_t i = 0; i < w.size(); ++i) w[i] /= factor[i / length];
  if (!maker.bias.empty()) {
    std::vector<float>& bias = net.weights.find(maker.bias)->second;
    for (std::size_t c = 0; c < bias.size(); ++c) bias[c] /= factor[c];
  }
  for_each_column(reader, [&](std::uint64_t c, std::uint64_t at) { v[at] *= factor[c]; });
  return largest;
}

struct Pair {
  Layer maker, reader;
  std::vector<ValueId> between;
};

std::vector<Pair> pairs_of(const Net& net) {
  const std::map<std::string, std::size_t> uses = uses_of(net);
  const auto is_alone = [&](const Layer& layer) {
    return uses.at(layer.part) == 1 && (layer.bias.empty() || uses.at(layer.bias) == 1);
  };
  const auto read_once = [&](ValueId value) -> const Node* {
    const std::vector<const Node*> readers = net.graph.consumers(value);
    return readers.size() == 1 && std::ranges::find(net.graph.outputs, value) == net.graph.outputs.end() ? readers[0]
                                                                                                         : nullptr;
  };
  std::vector<Pair> pairs;
  for (const Node& node : net.graph.nodes) {
    const std::optional<Layer> maker = layer_of(net, node);
    if (!maker || !is_alone(*maker)) continue;
    const bool is_linear = std::holds_alternative<Linear>(node.operation);
    std::vector<ValueId> between = {node.output};
    const Node* next = read_once(node.output);
    while (next != nullptr && passes_factors(*next, is_linear)) {
      between.push_back(next->output);
      next = read_once(next->output);
    }
    if (next == nullptr || std::holds_alternative<Linear>(next->operation) != is_linear) continue;
    const std::optional<Layer> reader = layer_of(net, *next);
    if (reader && is_alone(*reader) && reader->cols == maker->rows)
      pairs.push_back({*maker, *reader, std::move(between)});
  }
  return pairs;
}

}  // namespace

std::vector<ValueId> equalized_values(const Net& net) {
  std::vector<ValueId> values;
  for (const Pair& pair : pairs_of(net)) values.insert(values.end(), pair.between.begin(), pair.between.end());
  return values;
}

std::size_t equalize(Net& net) {
  const std::vector<Pair> pairs = pairs_of(net);
  constexpr int kMostTurns = 20;
  for (int turn = 0; turn < kMostTurns; ++turn) {
    double largest = 0;
    for (const Pair& pair : pairs) largest = std::max(largest, equalize_pair(net, pair.maker, pair.reader));
    if (largest < 1e-3) break;
  }
  return pairs.size();
}

void give_biases(Net& net) {
  const std::map<std::string, std::size_t> uses = uses_of(net);
  for (Node& node : net.graph.nodes)
    std::visit(
        [&]<class Op>(Op& op) {
          if constexpr (std::is_same_v<Op, Convolution> || std::is_same_v<Op, Linear>) {
            if (op.has_bias || uses.at(op.part) != 1 || net.weights.contains(op.part + ".bias")) return;
            op.has_bias = true;
            if constexpr (std::is_same_v<Op, Linear>)
              net.weights[op.bias()].assign(op.rows, 0);
            else
              net.weights[op.bias()].assign(op.outputs, 0);
          }
        },
        node.operation);
}

void drop_zero_biases(Net& net) {
  for (Node& node : net.graph.nodes)
    std::visit(
        [&]<class Op>(Op& op) {
          if constexpr (std::is_same_v<Op, Convolution> || std::is_same_v<Op, Linear>)
            op.has_bias =
                op.has_bias && std::ranges::any_of(net.weight(op.bias()), [](float number) { return number != 0; });
        },
        node.operation);
  remove_unused(net);
}

void correct_biases(const Net& net, std::span<const NetSample> samples, const ValueGrids& grids, NumbersByPart& weights,
                    Machine& machine) {
  const std::map<std::string, std::size_t> uses = uses_of(net);
  std::map<ValueId, Layer> layers;
  for (const Node& node : net.graph.nodes)
    if (const auto layer = layer_of(net, node);
        layer && !layer->bias.empty() && uses.at(layer->bias) == 1 && weights.contains(layer->part))
      layers.emplace(node.output, *layer);
  const auto means = [](const Layer& layer, const SampleValues& made) {
    std::vector<double> sums(layer.rows, 0);
    std::uint64_t count = 0;
    for (const std::vector<float>& sample : made) {
      for (std::size_t i = 0; i < sample.size(); ++i)
        sums[i / layer.plane % layer.rows] += static_cast<double>(sample[i]);
      count += sample.size() / layer.rows;
    }
    for (double& sum : sums) sum /= static_cast<double>(std::max<std::uint64_t>(1, count));
    return sums;
  };
  std::map<ValueId, std::vector<double>> wanted;
  walk_samples(net, samples, machine, {.see = [&](ValueId value, SampleValues& made) {
                 if (const auto layer = layers.find(value); layer != layers.end())
                   wanted[value] = means(layer->second, made);
               }});
  const auto correct = [&](ValueId value, SampleValues& made) {
    if (const auto found = layers.find(value); found != layers.end()) {
      const Layer& layer = found->second;
      const std::vector<double> is = means(layer, made), &should = wanted[value];
      std::vector<float> shift(layer.rows);
      std::vector<float>& bias = weights[layer.bias];
      if (bias.empty()) bias.assign(net.weight(layer.bias).begin(), net.weight(layer.bias).end());
      for (std::size_t c = 0; c < shift.size(); ++c) {
        shift[c] = static_cast<float>(should[c] - is[c]);
        bias[c] += shift[c];
      }
      for (std::vector<float>& sample : made)
        for (std::size_t i = 0; i < sample.size(); ++i) sample[i] += shift[i / layer.plane % layer.rows];
    }
    if (const auto grid = grids.find(value); grid != grids.end())
      for (std::vector<float>& sample : made) round_to_grid(grid->second, sample);
  };
  walk_samples(net, samples, machine, {.see = correct, .instead = &weights});
}

}  // namespace nibble
