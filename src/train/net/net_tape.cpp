// SPDX-License-Identifier: Apache-2.0
#include "train/net/net_tape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "graph/extents.h"
#include "net/quantize/weight_rounding.h"
#include "net/signs.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr double kOfBatch = 0.1;  // the share of the latest batch in what a norm stores

}  // namespace

std::vector<NetworkWeight> weights_of(const Net& net) {
  std::vector<NetworkWeight> weights;
  std::set<std::string, std::less<>> seen;
  for (const Node& node : net.graph.nodes) {
    if (std::holds_alternative<Constant>(node.operation)) continue;
    for (const WeightUse& use : net.graph.weights(node)) {
      if (!seen.insert(use.part).second) continue;
      const std::span<const float> numbers = net.weight(use.part);
      const std::uint64_t rows = use.shape.size() < 2 ? 1 : rows_of_weight(node.operation, use);
      weights.push_back({.name = use.part,
                         .part = use.part,
                         .role = use.role,
                         .values = {rows, numbers.size() / std::max<std::uint64_t>(1, rows),
                                    std::vector<float>(numbers.begin(), numbers.end())}});
    }
  }
  return weights;
}

bool is_learnt(const NetworkWeight& weight) { return weight.role != TensorRole::coefficients; }

void put_weights(const NetworkWeights& weights, Net& net) {
  for (const NetworkWeight& weight : weights.all()) net.weights.find(weight.part)->second = weight.values.values;
}

NetTape::NetTape(const Net& net, NetworkWeights& weights, Machine& machine)
    : net_(net),
      weights_(weights),
      machine_(machine),
      is_shared_(net.graph.values.size(), true),
      values_(net.graph.values.size()),
      gradients_(net.graph.values.size()) {
  for (const NetPort& input : net.inputs) is_shared_[input.value] = false;
  const std::vector<const Node*> makers = makers_of(net.graph);
  for (const Node& node : net.graph.nodes) {
    is_shared_[node.output] = std::ranges::all_of(node.inputs, [&](ValueId input) { return is_shared_[input]; });
    signs_of_.push_back(signs_of(net, makers, node));
  }
  mark_needs();
  std::string refused;
  for (const Node& node : net.graph.nodes) {
    if (std::ranges::none_of(node.inputs, [&](ValueId input) { return needs_gradient_[input]; })) continue;
    std::string why = gradient_refusal(node.operation);
    if (std::holds_alternative<Gather>(node.operation) && !is_shared_[node.inputs[1]])
      why = "which numbers are taken is known only when the net runs";
    if (why.empty()) continue;
    const std::string& name = net.names[node.output];
    refused += fmt::format("{}{} {} ({})", refused.empty() ? "" : "; ", operation_name(node.operation),
                           name.empty() ? fmt::format("v{}", node.output) : name, why);
  }
  if (!refused.empty())
    throw Error(ErrorKind::unsupported, fmt::format("{}: cannot be trained: {}", net.source, refused));
}

void NetTape::mark_needs() {
  needs_gradient_.assign(net_.graph.values.size(), false);
  for (const Node& node : net_.graph.nodes) {
    bool needs = std::ranges::any_of(node.inputs, [&](ValueId input) { return needs_gradient_[input]; });
    for (const WeightUse& use : net_.graph.weights(node)) {
      const NetworkWeight* const weight = weights_.find(Network::kBegin, use.part);
      needs = needs || (weight != nullptr && weight->is_trained());
    }
    needs_gradient_[node.output] = needs;
  }
}

BatchNode NetTape::batch_node(const Node& node) {
  BatchNode made{.operation = node.operation,
                 .shapes = net_.graph.input_shapes(node),
                 .samples = is_shared_[node.output] ? 1 : samples_,
                 .inputs = {},
                 .weight = [this](std::string_view part) -> std::span<const float> {
                   const NetworkWeight* const weight = weights_.find(Network::kBegin, part);
                   return weight != nullptr ? std::span<const float>(weight->values.values) : net_.weight(part);
                 }};
  for (const ValueId input : node.inputs) made.inputs.push_back({values_[input], is_shared_[input]});
  return made;
}

void NetTape::blend(const BatchNorm& op, const NormOfBatch& norm, double count) {
  std::vector<float>& mean = weights_.find(Network::kBegin, op.part + ".mean")->values.values;
  std::vector<float>& variance = weights_.find(Network::kBegin, op.part + ".variance")->values.values;
  const double unbiased = count > 1 ? count / (count - 1) : 1;
  for (std::size_t c = 0; c < mean.size(); ++c) {
    mean[c] = static_cast<float>((1 - kOfBatch) * static_cast<double>(mean[c]) + kOfBatch * norm.mean[c]);
    variance[c] =
        static_cast<float>((1 - kOfBatch) * static_cast<double>(variance[c]) + kOfBatch * unbiased * norm.variance[c]);
  }
}

void NetTape::forward(std::vector<std::vector<float>> given, std::size_t samples, Norms norms) {
  samples_ = samples;
  norms_.clear();
  for (std::size_t i = 0; i < net_.inputs.size(); ++i) values_[net_.inputs[i].value] = std::move(given[i]);
  for (std::size_t i = 0; i < net_.graph.nodes.size(); ++i) {
    const Node& node = net_.graph.nodes[i];
    const BatchNode batch = batch_node(node);
    std::vector<float>& made = values_[node.output];
    made.resize(batch.samples * numbers_of(net_.graph.values[node.output]));
    const auto* const norm = std::get_if<BatchNorm>(&node.operation);
    if (norm != nullptr && norms == Norms::of_batch) {
      const NormOfBatch& seen = norms_[i] = evaluate_norm(batch, made, machine_);
      blend(*norm, seen, static_cast<double>(made.size() / std::max<std::size_t>(1, seen.mean.size())));
    } else {
      evaluate_batch(batch, made, machine_);
    }
  }
}

void NetTape::backward(const std::map<ValueId, std::vector<float>>& by) {
  const auto gradient_of = [&](ValueId value) -> std::span<float> {
    if (!needs_gradient_[value]) return {};
    if (gradients_[value].empty()) gradients_[value].assign(values_[value].size(), 0.0F);
    return gradients_[value];
  };
  for (const auto& [value, numbers] : by) {
    const std::span<float> sum = gradient_of(value);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += numbers[i];
  }
  for (std::size_t i = net_.graph.nodes.size(); i-- > 0;) {
    const Node& node = net_.graph.nodes[i];
    std::vector<float>& by_made = gradients_[node.output];
    if (by_made.empty()) continue;
    if (signs_of_[i]) {
      const std::span<float> by_x = gradient_of(*signs_of_[i]);
      const std::vector<float>& x = values_[*signs_of_[i]];
      for (std::size_t k = 0; k < by_x.size(); ++k) by_x[k] += std::fabs(x[k]) <= 1 ? by_made[k] : 0.0F;
    } else {
      BatchGradients into{.output = by_made, .inputs = {}, .weight = [this](std::string_view part) -> std::span<float> {
                            NetworkWeight* const weight = weights_.find(Network::kBegin, part);
                            return weight == nullptr ? std::span<float>{} : std::span<float>(weight->gradient);
                          }};
      for (const ValueId input : node.inputs) into.inputs.push_back(gradient_of(input));
      const auto norm = norms_.find(i);
      const BatchNode batch = batch_node(node);
      if (norm != norms_.end())
        add_norm_gradients(batch, norm->second, into, machine_);
      else
        add_gradients(batch, values_[node.output], into, machine_);
    }
    std::vector<float>().swap(by_made);
  }
}

}  // namespace nibble
