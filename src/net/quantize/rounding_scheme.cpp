// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/rounding_scheme.h"

#include <algorithm>
#include <numeric>

namespace nibble {

RoundingScheme::RoundingScheme(const Net& net, NetRuntime runtime)
    : net_(net),
      runtime_(runtime),
      makers_(net.graph.values.size()),
      readers_(net.graph.values.size()),
      outputs_(net.graph.outputs.begin(), net.graph.outputs.end()),
      roles_(net.graph.values.size(), Role::other),
      grid_of_(net.graph.values.size()) {
  for (const Node& node : net.graph.nodes) {
    makers_[node.output] = &node;
    for (const ValueId input : node.inputs) readers_[input].push_back(&node);
  }
  for (const Node& node : net.graph.nodes) roles_[node.output] = role_of(node);
  std::iota(grid_of_.begin(), grid_of_.end(), ValueId{0});
  const auto joins = [&](ValueId a, ValueId b) {
    const ValueId from = std::max(grid_of_[a], grid_of_[b]), to = std::min(grid_of_[a], grid_of_[b]);
    std::ranges::replace(grid_of_, from, to);
  };
  for (const Node& node : net.graph.nodes) {
    if (roles_[node.output] == Role::moving) joins(node.inputs[0], node.output);
    if (runtime != NetRuntime::any && std::holds_alternative<Concat>(node.operation))
      for (const ValueId input : node.inputs) joins(input, node.output);
  }
  for (const Node& node : net.graph.nodes) {
    const Role role = roles_[node.output];
    if (role != Role::product && role != Role::stored) continue;
    for (const WeightUse& use : net.graph.weights(node))
      if (use.role == TensorRole::linear) all_.weights.insert(use.part);
    if (role == Role::stored) continue;
    for (const ValueId input : data_of(node)) all_.values.insert(input);
    if (needs_output(node)) all_.values.insert(end_of(node));
  }
  if (runtime == NetRuntime::tflite)
    for (const ValueId output : net.graph.outputs)
      if (passes_codes(output)) all_.values.insert(output);
  close(all_.values, nullptr);
  fix_grids();
}

bool RoundingScheme::passes_codes(ValueId value) const {
  const Node* const node = operator_of(value);
  if (node == nullptr) return false;
  const Role role = roles_[node->output];
  return role == Role::own || role == Role::moving;
}

namespace {

// Of functions that TensorFlow Lite gives a grid of their own.
std::optional<ActivationGrid> grid_of_function(const Operation& operation) {
  if (std::holds_alternative<Softmax>(operation) || std::holds_alternative<Sigmoid>(operation))
    return ActivationGrid{1.0F / 256, kLowestActivation};
  const auto* const unary = std::get_if<Unary>(&operation);
  if (unary != nullptr && unary->kind == Unary::Kind::tanh) return ActivationGrid{1.0F / 128, 0};
  return std::nullopt;
}

}  // namespace

// Where all that have a grid in common come from such functions.
void RoundingScheme::fix_grids() {
  if (runtime_ != NetRuntime::tflite) return;
  std::set<ValueId> open;
  for (ValueId value = 0; value < grid_of_.size(); ++value) {
    const Node* const node = maker(value);
    if (node != nullptr && (roles_[value] == Role::moving || std::holds_alternative<Concat>(node->operation))) continue;
    const auto grid = node == nullptr ? std::nullopt : grid_of_function(node->operation);
    const ValueId key = grid_of_[value];
    if (!grid || (fixed_.contains(key) && fixed_.at(key) != *grid)) open.insert(key);
    if (grid) fixed_.emplace(key, *grid);
  }
  for (const ValueId key : open) fixed_.erase(key);
}

std::optional<ActivationGrid> RoundingScheme::fixed_grid(ValueId grid) const {
  const auto found = fixed_.find(grid);
  return found == fixed_.end() ? std::nullopt : std::optional(found->second);
}

bool RoundingScheme::is_product(const Node& node) {
  return std::holds_alternative<Convolution>(node.operation) || std::holds_alternative<Linear>(node.operation) ||
         std::holds_alternative<MatrixProduct>(node.operation) ||
         std::holds_alternative<TransposedConvolution>(node.operation) ||
         std::holds_alternative<Lstm>(node.operation) || std::holds_alternative<Gru>(node.operation);
}

bool RoundingScheme::is_constant(ValueId value) const {
  return maker(value) != nullptr && std::holds_alternative<Constant>(maker(value)->operation);
}

// What other runtimes compute in floats, or by another grid.
RoundingScheme::Role RoundingScheme::role_in_tflite(const Node& node) const {
  const Operation& op = node.operation;
  const auto* const softmax = std::get_if<Softmax>(&op);
  if (softmax != nullptr) return softmax->is_logarithm ? Role::other : Role::own;
  if (std::holds_alternative<Pooling>(op)) return Role::moving;
  if (std::holds_alternative<MatrixProduct>(op)) return Role::other;
  const auto* const unary = std::get_if<Unary>(&op);
  if (unary == nullptr) return Role::other;
  const bool is_known = unary->kind == Unary::Kind::tanh || unary->kind == Unary::Kind::hard_swish ||
                        unary->kind == Unary::Kind::relu ||
                        (unary->kind == Unary::Kind::clip && unary->a == 0 && unary->b == 6);
  return is_known ? Role::own : Role::other;
}

RoundingScheme::Role RoundingScheme::role_of(const Node& node) const {
  const Operation& op = node.operation;
  if (runtime_ == NetRuntime::tflite && (std::holds_alternative<Softmax>(op) || std::holds_alternative<Pooling>(op) ||
                                         std::holds_alternative<MatrixProduct>(op)))
    return role_in_tflite(node);
  const bool has_constant = std::ranges::any_of(node.inputs, [&](ValueId input) { return is_constant(input); });
  if (std::holds_alternative<Convolution>(op) || std::holds_alternative<Linear>(op)) return Role::product;
  if (std::holds_alternative<MatrixProduct>(op)) return has_constant ? Role::other : Role::product;
  if (is_product(node)) return Role::stored;
  if (std::holds_alternative<Reshape>(op) || std::holds_alternative<Transpose>(op) ||
      std::holds_alternative<StridedSlice>(op) || std::holds_alternative<Slice>(op) ||
      std::holds_alternative<Expand>(op) || std::holds_alternative<Gather>(op))
    return is_constant(node.inputs[0]) ? Role::other : Role::moving;
  if (const auto* const pad = std::get_if<Pad>(&op))
    return pad->kind == Pad::Kind::constant && pad->value != 0 ? Role::other : Role::moving;
  if (const auto* const resize = std::get_if<Resize>(&op))
    return resize->kind == Resize::Kind::nearest ? Role::moving : Role::other;
  if (const auto* const pooling = std::get_if<Pooling>(&op))
    return pooling->kind == Pooling::Kind::maximum ? Role::moving : Role::own;
  if (const auto* const unary = std::get_if<Unary>(&op)) {
    const bool cuts = unary->kind == Unary::Kind::relu || (unary->kind == Unary::Kind::clip && unary->a == 0);
    const Node* const before = maker(node.inputs[0]);
    const bool is_alone = readers_[node.inputs[0]].size() == 1 && !outputs_.contains(node.inputs[0]);
    if (cuts && is_alone && before != nullptr) {
      const Role role = roles_[before->output];
      if (role == Role::product || role == Role::own) return Role::absorbed;
    }
    if (unary->kind == Unary::Kind::leaky_relu) return Role::own;
    return runtime_ == NetRuntime::tflite ? role_in_tflite(node) : Role::other;
  }
  if (has_constant) return Role::other;
  if (std::holds_alternative<Add>(op) || std::holds_alternative<Multiply>(op) || std::holds_alternative<Concat>(op) ||
      std::holds_alternative<Sigmoid>(op))
    return Role::own;
  if (const auto* const binary = std::get_if<Binary>(&op))
    return binary->kind == Binary::Kind::add || binary->kind == Binary::Kind::multiply ? Role::own : Role::other;
  if (const auto* const reduce = std::get_if<Reduce>(&op)) {
    const std::size_t rank = net_.graph.values[node.inputs[0]].size();
    const bool is_global = rank > 2 && reduce->axes.size() + 2 == rank && reduce->axes.front() == 2;
    return reduce->kind == Reduce::Kind::mean && reduce->keeps_dimensions && is_global ? Role::own : Role::other;
  }
  return Role::other;
}

std::vector<ValueId> RoundingScheme::data_of(const Node& node) const {
  if (std::holds_alternative<Gather>(node.operation)) return {node.inputs[0]};
  return node.inputs;
}

const Node* RoundingScheme::operator_of(ValueId value) const {
  const Node* const node = maker(value);
  return node != nullptr && roles_[value] == Role::absorbed ? maker(node->inputs[0]) : node;
}

ValueId RoundingScheme::end_of(const Node& node) const {
  const std::vector<const Node*>& readers = readers_[node.output];
  if (readers.size() == 1 && roles_[readers[0]->output] == Role::absorbed) return readers[0]->output;
  return node.output;
}

// Elsewhere products of matrices may have sums in f32.
bool RoundingScheme::needs_output(const Node& node) const {
  return (runtime_ != NetRuntime::tensorrt && std::holds_alternative<Convolution>(node.operation)) ||
         (runtime_ == NetRuntime::tflite && std::holds_alternative<Linear>(node.operation));
}

bool RoundingScheme::is_integer(const Node& node, const RoundedParts& rounded) const {
  if (roles_[node.output] != Role::product) return false;
  const auto is_rounded = [&](ValueId value) { return rounded.values.contains(value); };
  if (!std::ranges::all_of(data_of(node), is_rounded)) return false;
  for (const WeightUse& use : net_.graph.weights(node))
    if (use.role == TensorRole::linear && !rounded.weights.contains(use.part)) return false;
  return !needs_output(node) || is_rounded(end_of(node));
}

// What operators on codes read, where what they make is there: backwards, as far as it goes. TensorRT adds in integers
// by the same rule, and needs no more. within: nothing else is taken.
void RoundingScheme::close(std::set<ValueId>& values, const std::set<ValueId>* within) const {
  std::vector<ValueId> open(values.begin(), values.end());
  while (!open.empty()) {
    const ValueId value = open.back();
    open.pop_back();
    const Node* const node = operator_of(value);
    if (node == nullptr) continue;
    const Role role = roles_[node->output];
    const bool is_sum = std::holds_alternative<Add>(node->operation) ||
                        (std::holds_alternative<Binary>(node->operation) && role == Role::own);
    if (runtime_ == NetRuntime::tensorrt ? !is_sum : role != Role::own && role != Role::moving) continue;
    const std::vector<ValueId> inputs = data_of(*node);
    if (within != nullptr && !std::ranges::all_of(inputs, [&](ValueId input) { return within->contains(input); }))
      continue;
    for (const ValueId input : inputs)
      if (values.insert(input).second) open.push_back(input);
  }
}

std::set<ValueId> RoundingScheme::useful(const RoundedParts& rounded) const {
  std::set<ValueId> kept;
  for (const Node& node : net_.graph.nodes) {
    if (!is_integer(node, rounded)) continue;
    for (const ValueId input : data_of(node)) kept.insert(input);
    if (needs_output(node)) kept.insert(end_of(node));
  }
  if (runtime_ == NetRuntime::tflite) {
    const auto ends_in_kept = [&](auto self, ValueId value) -> bool {
      if (kept.contains(value)) return true;
      if (!rounded.values.contains(value) || !passes_codes(value)) return false;
      return std::ranges::all_of(data_of(*operator_of(value)), [&](ValueId input) { return self(self, input); });
    };
    for (const ValueId output : net_.graph.outputs)
      if (ends_in_kept(ends_in_kept, output)) kept.insert(output);
  }
  close(kept, &rounded.values);
  return kept;
}

}  // namespace nibble
