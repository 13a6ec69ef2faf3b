// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/ordered_rounding.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "kernels/dense/dense.h"
#include "net/quantize/adaptive_rounding.h"
#include "net/quantize/layer_tokens.h"
#include "net/quantize/weight_rounding.h"

namespace nibble {
namespace {

// Of what rows of a group see: sums of products of `n` columns.
class MomentSum {
 public:
  explicit MomentSum(std::size_t n) : n_(n), sums_(n * n, 0.0) {}

  void add(std::span<const float> rows, Machine& machine) {
    syrk(rows.data(), rows.size() / n_, n_, sums_.data(), machine);
    count_ += rows.size() / n_;
  }

  SiteStatistics take(ThreadPool& pool) {
    mirror_lower(sums_.data(), n_, pool);
    SiteStatistics site;
    site.count = count_;
    const double count = static_cast<double>(std::max<std::uint64_t>(1, count_));
    for (const double sum : sums_) site.second_moment.push_back(static_cast<float>(sum / count));
    for (std::size_t i = 0; i < n_; ++i) site.mean_square.push_back(site.second_moment[i * n_ + i]);
    return site;
  }

 private:
  std::size_t n_;
  std::uint64_t count_ = 0;
  std::vector<double> sums_;
};

// By group of a layer's inputs.
std::vector<SiteStatistics> moments_of(const Net& net, const Node& node, std::span<const std::vector<float>> x,
                                       Machine& machine) {
  const TokenLayout layout = token_layout(net, node);
  std::vector<MomentSum> sums(layout.groups, MomentSum(layout.cols));
  for (const std::vector<float>& sample : x)
    for_each_group(net, node, sample, [&](std::size_t group, std::size_t, std::span<const float> tokens) {
      sums[group].add(tokens, machine);
    });
  std::vector<SiteStatistics> sites;
  for (MomentSum& sum : sums) sites.push_back(sum.take(machine.pool));
  return sites;
}

// What the activation right behind a layer clamps to.
struct Clamp {
  float least = -std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::infinity();
};

Clamp clamp_behind(const Graph& graph, const Node& node) {
  const std::vector<const Node*> readers = graph.consumers(node.output);
  if (readers.size() != 1 || std::ranges::find(graph.outputs, node.output) != graph.outputs.end()) return {};
  const auto* const unary = std::get_if<Unary>(&readers[0]->operation);
  if (unary == nullptr) return {};
  if (unary->kind == Unary::Kind::relu) return {.least = 0};
  if (unary->kind == Unary::Kind::clip) return {unary->a, unary->b};
  return {};
}

// The net in f32, walked beside the rounded one: what its layers read and make, as long as somebody asks.
class FloatWalk {
 public:
  FloatWalk(const Net& net, Machine& machine)
      : net_(net), machine_(machine), values_(net.graph.values.size()), readers_(values_.size()) {
    for (const Node& node : net.graph.nodes)
      for (const ValueId input : node.inputs) ++readers_[input];
  }

  void give(ValueId input, const SampleValues& made) { values_[input] = made; }
  const SampleValues& make(const Node& node) {
    SampleValues& made = values_[node.output];
    if (!made.empty()) return made;
    std::vector<const SampleValues*> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(&values_[input]);
    made = evaluate_samples(net_, node, inputs, nullptr, machine_);
    for (const ValueId input : node.inputs)
      if (--readers_[input] == 0) SampleValues().swap(values_[input]);
    return made;
  }

 private:
  const Net& net_;
  Machine& machine_;
  std::vector<SampleValues> values_;
  std::vector<std::size_t> readers_;  // nodes that have still to read a value
};

// The codes of one layer learned from those that it has.
class LayerRounding {
 public:
  LayerRounding(const Net& net, const Node& node, const AdaptiveRoundingOptions& options, Machine& machine)
      : net_(net), node_(node), options_(options), machine_(machine), layout_(token_layout(net, node)) {}

  // x, y: what the rounded layers before it make, and what it makes in f32; the first so many samples teach. Whether
  // codes have become others.
  bool run(const SampleValues& x, const SampleValues& y, std::size_t teaching, std::span<const float> bias,
           WeightCodes& codes) {
    const std::size_t numbers = layout_.groups * (layout_.cols + layout_.rows), most = kMostNumbers / numbers;
    const std::span<const std::vector<float>> xs(x), ys(y);
    const LayerTokens taught = draw(xs.first(teaching), ys.first(teaching), std::min(most, kMostTokens)),
                      judging = draw(xs.subspan(teaching), ys.subspan(teaching), std::min(most, kMostJudging));
    WeightCodes learned = codes;
    // Groups know nothing of each other: each is one worker's.
    if (layout_.groups == 1) {
      learn(0, taught, bias, learned, machine_);
    } else {
      machine_.pool.parallel_for(layout_.groups, 1, [&](std::size_t group, std::size_t, std::size_t) {
        Machine alone(machine_.isa, 1);
        learn(group, taught, bias, learned, alone);
      });
    }
    if (error_of(learned, judging, bias) >= error_of(codes, judging, bias)) return false;
    codes = std::move(learned);
    return true;
  }

 private:
  static constexpr std::size_t kMostNumbers = std::size_t{1} << 24, kMostTokens = std::size_t{1} << 14,
                               kMostJudging = std::size_t{1} << 12;

  LayerTokens draw(std::span<const std::vector<float>> x, std::span<const std::vector<float>> y,
                   std::size_t most) const {
    const Clamp clamp = clamp_behind(net_.graph, node_);
    LayerTokens tokens = draw_tokens(net_, node_, x, y, std::max<std::size_t>(1, most), options_.seed);
    for (std::vector<float>& group : tokens.y)
      for (float& made : group) made = std::clamp(made, clamp.least, clamp.most);
    return tokens;
  }

  RowsToRound rows_of(std::size_t group, const LayerTokens& tokens, std::span<const float> bias,
                      const WeightCodes& codes) const {
    const Clamp clamp = clamp_behind(net_.graph, node_);
    const std::size_t rows = layout_.rows, first = group * rows;
    const std::span<const float> weights = net_.weight(net_.graph.weights(node_)[0].part);
    const int high = (1 << (codes.bits - 1)) - 1;
    return {.rows = rows,
            .cols = layout_.cols,
            .weights = weights.subspan(first * layout_.cols, rows * layout_.cols),
            .scales = std::span(codes.scales).subspan(first, rows),
            .bias = bias.empty() ? bias : bias.subspan(first, rows),
            .low = codes.bits == 8 ? -high : -high - 1,
            .high = high,
            .chosen = std::span(codes.codes).subspan(first * layout_.cols, rows * layout_.cols),
            .least = clamp.least,
            .most = clamp.most,
            .x = tokens.x[group],
            .y = tokens.y[group]};
  }

  void learn(std::size_t group, const LayerTokens& tokens, std::span<const float> bias, WeightCodes& codes,
             Machine& machine) const {
    const RowsToRound rows = rows_of(group, tokens, bias, codes);
    AdaptiveRounding learning(rows, options_, machine);
    learning.learn();
    std::ranges::copy(learning.codes(),
                      codes.codes.begin() + static_cast<std::ptrdiff_t>(group * layout_.rows * layout_.cols));
  }

  double error_of(const WeightCodes& codes, const LayerTokens& tokens, std::span<const float> bias) const {
    const std::vector<float> weights = numbers_of(codes);
    double error = 0;
    for (std::size_t group = 0; group < layout_.groups; ++group) {
      const std::size_t size = layout_.rows * layout_.cols;
      const std::vector<double> errors =
          row_errors(rows_of(group, tokens, bias, codes), std::span(weights).subspan(group * size, size), machine_);
      error = std::accumulate(errors.begin(), errors.end(), error);
    }
    return error;
  }

  const Net& net_;
  const Node& node_;
  const AdaptiveRoundingOptions& options_;
  Machine& machine_;
  TokenLayout layout_;
};

std::span<const float> bias_of(const Net& net, const Node& node, const NumbersByPart& weights) {
  const auto* const linear = std::get_if<Linear>(&node.operation);
  const std::string part = linear != nullptr ? linear->bias() : std::get<Convolution>(node.operation).bias();
  if (part.empty()) return {};
  const auto found = weights.find(part);
  return found == weights.end() ? net.weight(part) : found->second;
}

}  // namespace

std::vector<const Node*> layers_to_round(const Net& net, const NetCodes& codes) {
  std::map<std::string, std::size_t> uses;
  for (const Node& node : net.graph.nodes)
    for (const WeightUse& use : net.graph.weights(node)) ++uses[use.part];
  std::vector<const Node*> layers;
  for (const Node& node : net.graph.nodes) {
    if (!std::holds_alternative<Linear>(node.operation) && !std::holds_alternative<Convolution>(node.operation))
      continue;
    const std::string part = net.graph.weights(node)[0].part;
    if (codes.contains(part) && uses.at(part) == 1) layers.push_back(&node);
  }
  return layers;
}

LearnedLayers round_in_order(const Net& net, std::span<const NetSample> samples, const ValueGrids& grids,
                             const OrderedRounding& how, NetCodes& codes, NumbersByPart& weights, Machine& machine) {
  LearnedLayers told;
  FloatWalk original(net, machine);
  const std::vector<const Node*> layers = layers_to_round(net, codes);
  const auto round = [&](const Node& node, const SampleValues& x) {
    const std::string part = net.graph.weights(node)[0].part;
    WeightCodes& known = codes.find(part)->second;
    if (how.method.needs() != Needs::nothing) {
      const std::vector<SiteStatistics> sites = moments_of(net, node, std::span(x).first(samples.size()), machine);
      const std::vector<float> least = how.least(node);
      const WeightRounding again{.bits = known.bits,
                                 .grain = known.has_one_scale ? WeightGrain::tensor : WeightGrain::channel,
                                 .method = how.method,
                                 .inputs = sites,
                                 .least = least};
      known = round_weights(net.weight(part), known.rows, again, part, machine);
    }
    if (how.learns != nullptr) {
      ++told.learned;
      LayerRounding learning(net, node, *how.learns, machine);
      told.taken += learning.run(x, original.make(node), samples.size(), bias_of(net, node, weights), known) ? 1 : 0;
    }
    weights[part] = numbers_of(known);
    if (how.layer_done) how.layer_done();
  };
  const auto see = [&](ValueId value, SampleValues& made) {
    if (how.learns != nullptr) {
      if (const Node* const maker = net.graph.producer(value))
        original.make(*maker);
      else
        original.give(value, made);
    }
    if (const auto grid = grids.find(value); grid != grids.end())
      for (std::vector<float>& sample : made) round_to_grid(grid->second, sample);
    for (const Node* const reader : net.graph.consumers(value))
      if (std::ranges::find(layers, reader) != layers.end()) round(*reader, made);
  };
  std::vector<NetSample> walked(samples.begin(), samples.end());
  if (how.learns != nullptr) walked.insert(walked.end(), how.judging.begin(), how.judging.end());
  walk_samples(net, walked, machine, {.see = see, .instead = &weights});
  return told;
}

}  // namespace nibble
