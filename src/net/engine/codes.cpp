// SPDX-License-Identifier: Apache-2.0
#include "net/engine/codes.h"

#include <algorithm>
#include <cmath>

#include "net/simplify.h"

namespace nibble::net_engine {
namespace {

// The bytes that codes of a range are kept in; -1: more than a byte.
std::int16_t shift_of(float low, float high) {
  if (low >= 0 && high <= 255) return 0;
  return low >= -128 && high <= 127 ? std::int16_t{128} : std::int16_t{-1};
}

bool only_moves(const Operation& operation) {
  return std::holds_alternative<Reshape>(operation) || std::holds_alternative<Transpose>(operation) ||
         std::holds_alternative<StridedSlice>(operation) || std::holds_alternative<Expand>(operation);
}

bool takes_largest(const Operation& operation) {
  const auto* const pooling = std::get_if<Pooling>(&operation);
  return pooling != nullptr && pooling->kind == Pooling::Kind::maximum;
}

bool is_whole(float x) { return std::nearbyint(x) == x; }

// Whole numbers of whole numbers.
bool keeps_whole(const Operation& operation) {
  if (only_moves(operation) || takes_largest(operation) || std::holds_alternative<Concat>(operation)) return true;
  if (const auto* const unary = std::get_if<Unary>(&operation)) {
    if (unary->kind == Unary::Kind::clip) return is_whole(unary->a) && is_whole(unary->b);
    return unary->kind == Unary::Kind::relu || unary->kind == Unary::Kind::absolute ||
           unary->kind == Unary::Kind::negative;
  }
  const auto* const binary = std::get_if<Binary>(&operation);
  return binary != nullptr && (binary->kind == Binary::Kind::add || binary->kind == Binary::Kind::subtract ||
                               binary->kind == Binary::Kind::multiply);
}

bool makes_whole(const Operation& operation) {
  if (std::holds_alternative<Quantize>(operation)) return true;
  const auto* const unary = std::get_if<Unary>(&operation);
  return unary != nullptr && (unary->kind == Unary::Kind::floor || unary->kind == Unary::Kind::ceiling ||
                              unary->kind == Unary::Kind::round || unary->kind == Unary::Kind::truncate ||
                              unary->kind == Unary::Kind::sign);
}

// One value by the other's grid, where nothing else is between them.
bool hoist_one(Net& net) {
  Graph& graph = net.graph;
  const Readers readers(graph);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node mover = graph.nodes[i];
    if (mover.inputs.size() != 1 || !(only_moves(mover.operation) || takes_largest(mover.operation))) continue;
    const Node* const before = readers.maker(mover.inputs[0]);
    if (before == nullptr || !std::holds_alternative<Dequantize>(before->operation)) continue;
    const std::optional<CodeGrid> grid = grid_of(net, readers, *before);
    if (!grid || !(grid->scale > 0)) continue;
    const auto moved = static_cast<ValueId>(graph.values.size());
    graph.values.push_back(graph.values[mover.output]);
    net.names.emplace_back();
    const Node dequantize{Dequantize{}, {moved, before->inputs[1], before->inputs[2]}, mover.output, std::nullopt};
    graph.nodes[i] = {mover.operation, {before->inputs[0]}, moved, std::nullopt};
    graph.nodes.insert(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, dequantize);
    return true;
  }
  return false;
}

// Codes of what the same codes stand for are those codes.
void leave_out_round_trips(Net& net, const CodeValues& values) {
  Graph& graph = net.graph;
  const Readers readers(graph);
  std::vector<ValueId> instead(graph.values.size());
  for (std::size_t i = 0; i < instead.size(); ++i) instead[i] = static_cast<ValueId>(i);
  for (Node& node : graph.nodes) {
    for (ValueId& input : node.inputs) input = instead[input];
    const auto* const quantize = std::get_if<Quantize>(&node.operation);
    const Node* const before = quantize == nullptr ? nullptr : readers.maker(node.inputs[0]);
    if (before == nullptr || !std::holds_alternative<Dequantize>(before->operation)) continue;
    const ValueId codes = before->inputs[0];
    const auto from = grid_of(net, readers, *before), to = grid_of(net, readers, node);
    if (!from || from != to || !(from->scale > 0) || !values.is_code(codes)) continue;
    // The whole range, so that nothing is clipped.
    const float low = -values.shift(codes), high = 255 - values.shift(codes);
    if (static_cast<float>(quantize->low) <= low && static_cast<float>(quantize->high) >= high)
      instead[node.output] = instead[codes];
  }
  for (ValueId& output : graph.outputs) output = instead[output];
  for (NetPort& output : net.outputs) output.value = instead[output.value];
}

// Products with a stored matrix [inner, cols] are Linears.
void make_linears(Net& net) {
  const Readers readers(net.graph);
  std::vector<std::pair<std::string, std::vector<float>>> turned;
  for (Node& node : net.graph.nodes) {
    if (!std::holds_alternative<MatrixProduct>(node.operation)) continue;
    const std::span<const float> stored = stored_numbers(net, readers, node.inputs[1]);
    const Dimensions& shape = net.graph.values[node.inputs[1]];
    if (stored.empty() || shape.size() != 2 || net.graph.values[node.inputs[0]].size() < 2) continue;
    const std::size_t inner = static_cast<std::size_t>(shape[0].extent),
                      cols = static_cast<std::size_t>(shape[1].extent);
    std::vector<float> rows(stored.size());
    for (std::size_t k = 0; k < inner; ++k)
      for (std::size_t j = 0; j < cols; ++j) rows[j * inner + k] = stored[k * cols + j];
    std::string part = "linear " + std::to_string(node.output);
    node.operation = Linear{part, part, cols, false};
    node.inputs.resize(1);
    turned.emplace_back(std::move(part), std::move(rows));
  }
  for (auto& [part, rows] : turned) net.weights[part] = std::move(rows);
}

}  // namespace

CodeValues::CodeValues(const Net& net) : shifts(net.graph.values.size(), -1) {
  const Readers readers(net.graph);
  std::vector<bool> whole(net.graph.values.size(), false);
  for (const NetPort& input : net.inputs)
    if (input.type == NumberType::i8 || input.type == NumberType::u8) {
      shifts[input.value] = input.type == NumberType::u8 ? 0 : 128;
      whole[input.value] = true;
    }
  for (const Node& node : net.graph.nodes) {
    if (const auto* const constant = std::get_if<Constant>(&node.operation)) {
      whole[node.output] = std::ranges::all_of(net.weight(constant->part), is_whole);
      continue;
    }
    if (std::holds_alternative<Gather>(node.operation)) {
      whole[node.output] = whole[node.inputs[0]];
      shifts[node.output] = shifts[node.inputs[0]];
      continue;
    }
    if (std::holds_alternative<Quantize>(node.operation)) {
      // Codes from a zero that is none, or not known, may be anything.
      const std::span<const float> zeros = stored_numbers(net, readers, node.inputs[2]);
      if (zeros.empty() || !std::ranges::all_of(zeros, [](float z) { return is_whole(z) && std::abs(z) <= 65536; }))
        continue;
    }
    whole[node.output] = makes_whole(node.operation) ||
                         (keeps_whole(node.operation) &&
                          std::ranges::all_of(node.inputs, [&](ValueId input) { return bool(whole[input]); }));
    if (!whole[node.output]) continue;
    if (const auto* const quantize = std::get_if<Quantize>(&node.operation)) {
      shifts[node.output] = shift_of(static_cast<float>(quantize->low), static_cast<float>(quantize->high));
    } else if (const auto* const unary = std::get_if<Unary>(&node.operation)) {
      if (unary->kind == Unary::Kind::clip) shifts[node.output] = shift_of(unary->a, unary->b);
    } else if (only_moves(node.operation) || takes_largest(node.operation) ||
               std::holds_alternative<Concat>(node.operation)) {
      const std::int16_t first = node.inputs.empty() ? std::int16_t{-1} : shifts[node.inputs[0]];
      const bool is_same = std::ranges::all_of(node.inputs, [&](ValueId input) { return shifts[input] == first; });
      if (is_same) shifts[node.output] = first;
    }
  }
}

std::span<const float> stored_numbers(const Net& net, const Readers& readers, ValueId value) {
  const Node* const maker = readers.maker(value);
  const auto* const constant = maker == nullptr ? nullptr : std::get_if<Constant>(&maker->operation);
  return constant == nullptr ? std::span<const float>{} : net.weight(constant->part);
}

std::optional<CodeGrid> grid_of(const Net& net, const Readers& readers, const Node& node) {
  const auto scale = stored_numbers(net, readers, node.inputs[1]), zero = stored_numbers(net, readers, node.inputs[2]);
  if (scale.size() != 1 || zero.size() != 1) return std::nullopt;
  return CodeGrid{scale[0], zero[0]};
}

void bring_codes_together(Net& net) {
  make_linears(net);
  while (hoist_one(net)) {
  }
  leave_out_round_trips(net, CodeValues(net));
  remove_unused(net);
}

std::optional<CodedWeights> coded_weights(std::span<const float> weights, std::size_t outputs) {
  if (outputs == 0) return std::nullopt;
  const std::size_t row = weights.size() / outputs;
  CodedWeights coded{std::vector<std::int8_t>(weights.size()), std::vector<float>(outputs, 1)};
  constexpr double kAllowed = 1e-4;  // of a step: quotients of products that f32 rounded are within 128 * 2^-23
  for (std::size_t output = 0; output < outputs; ++output) {
    const std::span<const float> w = weights.subspan(output * row, row);
    const auto fits = [&](double scale) {
      return std::ranges::all_of(w, [&](float x) {
        const double code = static_cast<double>(x) / scale, whole = std::nearbyint(code);
        return std::abs(code - whole) <= kAllowed && whole >= -128 && whole <= 127;
      });
    };
    float largest = 0;
    for (const float x : w) largest = std::abs(x) > std::abs(largest) ? x : largest;
    double scale = 1;
    if (!std::ranges::all_of(w, is_whole) || !fits(1)) {
      if (!std::isfinite(largest) || largest == 0) return std::nullopt;
      int most = largest < 0 ? 128 : 127;
      while (most > 0 && !fits(static_cast<double>(std::abs(largest)) / most)) --most;
      if (most == 0) return std::nullopt;
      scale = static_cast<double>(std::abs(largest)) / most;
    }
    coded.scales[output] = static_cast<float>(scale);
    for (std::size_t i = 0; i < row; ++i)
      coded.codes[output * row + i] = static_cast<std::int8_t>(std::nearbyint(static_cast<double>(w[i]) / scale));
  }
  return coded;
}

}  // namespace nibble::net_engine
