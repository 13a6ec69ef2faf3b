// SPDX-License-Identifier: Apache-2.0
#include "net/tflite/code_spelling.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

constexpr std::int32_t kLowest = -128, kHighest = 127;

// Whether a Clip changes nothing that codes tell apart.
bool is_within(const Unary& unary, const TfliteGrid& grid) {
  const float low = static_cast<float>(kLowest - grid.zero) * grid.scale,
              high = static_cast<float>(kHighest - grid.zero) * grid.scale, half = grid.scale / 2;
  const bool has_low = unary.kind == Unary::Kind::relu || unary.kind == Unary::Kind::clip,
             has_high = unary.kind == Unary::Kind::clip;
  const float from = unary.kind == Unary::Kind::relu ? 0 : unary.a;
  return has_low && low >= from - half && (!has_high || high <= unary.b + half);
}

}  // namespace

CodeSpelling::CodeSpelling(const Net& net, const NetCodes& codes)
    : net_(net), codes_(codes), makers_(net.graph.values.size()), readers_(net.graph.values.size()) {
  for (const Node& node : net.graph.nodes) {
    makers_[node.output] = &node;
    for (const ValueId input : node.inputs) readers_[input].push_back(&node);
  }
  for (const NetPort& output : net.outputs) outputs_.insert(output.value);
  for (const Node& node : net.graph.nodes)
    if (auto found = match(node)) coded_.emplace(&node, *found);
}

const Constant* CodeSpelling::constant_of(ValueId value) const {
  return makers_[value] == nullptr ? nullptr : std::get_if<Constant>(&makers_[value]->operation);
}

const Node* CodeSpelling::sole_maker(ValueId value) const {
  return readers_[value].size() == 1 && !outputs_.contains(value) ? makers_[value] : nullptr;
}

std::optional<TfliteGrid> CodeSpelling::grid_of(const Node& quantize) const {
  const auto* const op = std::get_if<Quantize>(&quantize.operation);
  if (op == nullptr || op->high - op->low != 255 || (op->low != 0 && op->low != kLowest)) return std::nullopt;
  const Constant *const scale = constant_of(quantize.inputs[1]), *const zero = constant_of(quantize.inputs[2]);
  if (scale == nullptr || zero == nullptr || outputs_.contains(quantize.output)) return std::nullopt;
  const auto scales = net_.weight(scale->part), zeros = net_.weight(zero->part);
  if (scales.size() != 1 || zeros.size() != 1 || !(scales[0] > 0)) return std::nullopt;
  const float shifted = zeros[0] - static_cast<float>(op->low == 0 ? -kLowest : 0);
  if (shifted < kLowest || shifted > kHighest || shifted != std::nearbyint(shifted)) return std::nullopt;
  // Codes that are read as numbers are those that are written.
  const bool is_pair = std::ranges::all_of(readers_[quantize.output], [&](const Node* reader) {
    if (!std::holds_alternative<Dequantize>(reader->operation) || reader->inputs[0] != quantize.output) return false;
    const Constant *const s = constant_of(reader->inputs[1]), *const z = constant_of(reader->inputs[2]);
    return s != nullptr && z != nullptr && net_.weight(s->part).size() == 1 && net_.weight(z->part).size() == 1 &&
           net_.weight(s->part)[0] == scales[0] && net_.weight(z->part)[0] == zeros[0];
  });
  if (!is_pair) return std::nullopt;
  return TfliteGrid{scales[0], static_cast<std::int32_t>(shifted)};
}

const Node* CodeSpelling::quantize_of(ValueId dequantized) const {
  const Node* const node = makers_[dequantized];
  if (node == nullptr || !std::holds_alternative<Dequantize>(node->operation)) return nullptr;
  const Node* const quantize = makers_[node->inputs[0]];
  return quantize != nullptr && grid_of(*quantize) ? quantize : nullptr;
}

const CodeSpelling::Coded* CodeSpelling::coded(const Node& quantize) const {
  const auto found = coded_.find(&quantize);
  return found == coded_.end() ? nullptr : &found->second;
}

std::optional<TfliteActivation> CodeSpelling::activation_of(const Unary& unary) {
  if (unary.kind == Unary::Kind::relu) return TfliteActivation::relu;
  if (unary.kind != Unary::Kind::clip) return std::nullopt;
  if (unary.a == 0 && unary.b == 6) return TfliteActivation::relu6;
  if (unary.a == -1 && unary.b == 1) return TfliteActivation::relu_n1_to_1;
  return std::nullopt;
}

namespace {

bool takes_activation(const Operation& op) {
  const auto* const binary = std::get_if<Binary>(&op);
  return std::holds_alternative<Convolution>(op) || std::holds_alternative<Linear>(op) ||
         std::holds_alternative<Pooling>(op) || std::holds_alternative<Add>(op) ||
         std::holds_alternative<Multiply>(op) ||
         (binary != nullptr && (binary->kind == Binary::Kind::add || binary->kind == Binary::Kind::multiply ||
                                binary->kind == Binary::Kind::subtract || binary->kind == Binary::Kind::divide));
}

}  // namespace

const Node* CodeSpelling::fused_activation(const Node& node) const {
  if (!takes_activation(node.operation) || readers_[node.output].size() != 1 || outputs_.contains(node.output))
    return nullptr;
  const Node* const reader = readers_[node.output][0];
  const auto* const unary = std::get_if<Unary>(&reader->operation);
  return unary != nullptr && activation_of(*unary) && !absorbed_.contains(reader) ? reader : nullptr;
}

std::optional<CodeSpelling::Coded> CodeSpelling::match(const Node& quantize) {
  const auto grid = grid_of(quantize);
  if (!grid) return std::nullopt;
  const Node* node = sole_maker(quantize.inputs[0]);
  if (node == nullptr) return std::nullopt;
  Coded made{node};
  if (const auto* const unary = std::get_if<Unary>(&node->operation);
      unary != nullptr && (unary->kind == Unary::Kind::relu || unary->kind == Unary::Kind::clip)) {
    const Node* const before = sole_maker(node->inputs[0]);
    const auto activation = activation_of(*unary);
    const bool is_free = is_within(*unary, *grid);
    if (before != nullptr && (is_free || (activation && takes_activation(before->operation))) &&
        is_computed_in_codes(*before, *grid)) {
      absorbed_.insert(node);
      absorbed_.insert(before);
      return Coded{before, is_free && !takes_activation(before->operation) ? TfliteActivation::none
                           : activation                                    ? *activation
                                                                           : TfliteActivation::none};
    }
  }
  if (!is_computed_in_codes(*node, *grid)) return std::nullopt;
  absorbed_.insert(node);
  return made;
}

std::vector<std::int32_t> CodeSpelling::whole_biases(const std::string& part, const std::string& bias, float scale,
                                                     std::uint64_t outputs) const {
  std::vector<std::int32_t> made(outputs, 0);
  if (bias.empty()) return made;
  const WeightCodes& codes = codes_.at(part);
  const std::span<const float> numbers = net_.weight(bias);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double code = std::nearbyint(static_cast<double>(numbers[i]) / static_cast<double>(codes.scales[i] * scale));
    if (!(std::abs(code) < 0x1p31)) return {};
    made[i] = static_cast<std::int32_t>(code);
  }
  return made;
}

bool CodeSpelling::has_whole_sums(const Node& node, const std::string& part, const std::string& bias,
                                  std::uint64_t outputs) const {
  const auto codes = codes_.find(part);
  if (codes == codes_.end() || codes->second.bits != 8 || codes->second.rows != outputs) return false;
  return !whole_biases(part, bias, grid_of(*quantize_of(node.inputs[0]))->scale, outputs).empty();
}

bool CodeSpelling::is_computed_in_codes(const Node& node, const TfliteGrid& made) const {
  const Operation& op = node.operation;
  const bool looks_up = std::holds_alternative<Gather>(op) && constant_of(node.inputs[1]) != nullptr;
  const std::span<const ValueId> read = std::span(node.inputs).first(looks_up ? 1 : node.inputs.size());
  if (read.empty()) return false;
  for (const ValueId input : read)
    if (quantize_of(input) == nullptr) return false;
  const bool keeps_grid =
      std::ranges::all_of(read, [&](ValueId input) { return *grid_of(*quantize_of(input)) == made; });
  if (const auto* const convolution = std::get_if<Convolution>(&op))
    return has_whole_sums(node, convolution->part, convolution->bias(), convolution->outputs);
  if (const auto* const linear = std::get_if<Linear>(&op))
    return has_whole_sums(node, linear->part, linear->bias(), linear->rows);
  if (std::holds_alternative<Add>(op) || std::holds_alternative<Multiply>(op)) return true;
  if (const auto* const binary = std::get_if<Binary>(&op))
    return binary->kind == Binary::Kind::add || binary->kind == Binary::Kind::multiply;
  if (std::holds_alternative<Pooling>(op) || std::holds_alternative<Reshape>(op) ||
      std::holds_alternative<Transpose>(op) || std::holds_alternative<StridedSlice>(op) ||
      std::holds_alternative<Concat>(op) || looks_up)
    return keeps_grid;
  if (const auto* const pad = std::get_if<Pad>(&op))
    return keeps_grid && pad->kind == Pad::Kind::constant && pad->value == 0;
  if (const auto* const resize = std::get_if<Resize>(&op)) return keeps_grid && resize->kind == Resize::Kind::nearest;
  if (const auto* const reduce = std::get_if<Reduce>(&op)) return reduce->kind == Reduce::Kind::mean;
  if (std::holds_alternative<Softmax>(op) || std::holds_alternative<Sigmoid>(op)) return made == kShareGrid;
  if (const auto* const unary = std::get_if<Unary>(&op)) {
    if (unary->kind == Unary::Kind::tanh) return made == kTanhGrid;
    return unary->kind == Unary::Kind::leaky_relu || unary->kind == Unary::Kind::hard_swish ||
           activation_of(*unary).has_value();
  }
  return false;
}

}  // namespace nibble
