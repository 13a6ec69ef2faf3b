// SPDX-License-Identifier: Apache-2.0
#include "net/simplify.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace nibble {
namespace {

// Who makes and who reads the values of a net, while it is changed.
class Wiring {
 public:
  explicit Wiring(Net& net) : net_(net), maker_(net.graph.values.size(), kNone), readers_(net.graph.values.size(), 0) {
    for (std::size_t i = 0; i < net.graph.nodes.size(); ++i) {
      const Node& node = net.graph.nodes[i];
      maker_[node.output] = i;
      for (const ValueId input : node.inputs) ++readers_[input];
      for (const WeightUse& use : net.graph.weights(node)) ++uses_[use.part];
    }
    for (const ValueId output : net.graph.outputs) ++readers_[output];
  }

  // Null: an input.
  Node* maker(ValueId value) { return maker_[value] == kNone ? nullptr : &net_.graph.nodes[maker_[value]]; }
  template <class Op>
  const Op* made_by(ValueId value) {
    const Node* const node = maker(value);
    return node == nullptr ? nullptr : std::get_if<Op>(&node->operation);
  }
  bool is_read_once(ValueId value) const { return readers_[value] == 1; }
  bool is_used_once(const std::string& part) const { return uses_.find(part)->second == 1; }
  // The numbers of a value that is stored; empty: it is not.
  std::span<const float> stored(ValueId value) {
    const auto* const constant = made_by<Constant>(value);
    return constant == nullptr ? std::span<const float>{} : net_.weight(constant->part);
  }
  bool is_number(ValueId value, float number) {
    const std::span<const float> numbers = stored(value);
    return numbers.size() == 1 && std::abs(numbers[0] - number) <= 1e-6F * std::abs(number);
  }

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};
  Net& net_;
  std::vector<std::size_t> maker_, readers_;
  std::map<std::string, std::size_t> uses_;
};

// What a node does to each channel of a value: y = x * factor + shift.
struct ChannelMap {
  std::vector<float> factor, shift;
};

std::vector<float> spread(std::span<const float> numbers, std::uint64_t channels) {
  if (numbers.size() == 1) return std::vector<float>(channels, numbers[0]);
  return {numbers.begin(), numbers.end()};
}

// Whether a constant's numbers are one, or one for each place along one dimension of a value.
bool is_by_channel(const Dimensions& constant, const Dimensions& value, std::uint64_t channel) {
  if (numbers_of(constant) == 1) return constant.size() <= value.size();
  if (constant.size() > value.size()) return false;
  for (std::size_t i = 0; i < constant.size(); ++i) {
    const std::size_t at = value.size() - constant.size() + i;
    if (constant[i].extent != (at == channel ? value[at].extent : 1)) return false;
  }
  return value.size() - constant.size() <= channel;
}

std::optional<ChannelMap> map_of(Net& net, Wiring& wiring, const Node& node, ValueId x, std::uint64_t channel) {
  const Dimensions& shape = net.graph.values[x];
  const std::uint64_t channels = shape[channel].extent;
  if (const auto* const norm = std::get_if<BatchNorm>(&node.operation)) {
    if (channel != 1) return std::nullopt;
    ChannelMap map{spread(net.weight(norm->part), channels), spread(net.weight(norm->part + ".bias"), channels)};
    for (std::size_t c = 0; c < channels; ++c) {
      map.factor[c] = static_cast<float>(
          static_cast<double>(map.factor[c]) /
          std::sqrt(static_cast<double>(net.weight(norm->part + ".variance")[c]) + static_cast<double>(norm->epsilon)));
      map.shift[c] -= net.weight(norm->part + ".mean")[c] * map.factor[c];
    }
    return map;
  }
  const auto* const binary = std::get_if<Binary>(&node.operation);
  if (binary == nullptr || node.inputs[0] == node.inputs[1]) return std::nullopt;
  const bool is_first = node.inputs[0] == x;
  const ValueId other = node.inputs[is_first ? 1 : 0];
  const std::span<const float> numbers = wiring.stored(other);
  if (numbers.empty() || !is_by_channel(net.graph.values[other], shape, channel)) return std::nullopt;
  ChannelMap map{std::vector<float>(channels, 1), std::vector<float>(channels, 0)};
  const std::vector<float> all = spread(numbers, channels);
  for (std::size_t c = 0; c < channels; ++c) {
    if (binary->kind == Binary::Kind::multiply)
      map.factor[c] = all[c];
    else if (binary->kind == Binary::Kind::divide && is_first)
      map.factor[c] = 1 / all[c];
    else if (binary->kind == Binary::Kind::add)
      map.shift[c] = all[c];
    else if (binary->kind == Binary::Kind::subtract)
      map.shift[c] = is_first ? -all[c] : all[c];
    else
      return std::nullopt;
    if (binary->kind == Binary::Kind::subtract && !is_first) map.factor[c] = -1;
  }
  return map;
}

template <class Op>
void put_into(Net& net, Op& op, std::uint64_t channels, const ChannelMap& map,
              const std::vector<std::size_t>& channel_of) {
  std::vector<float>& w = net.weights.find(op.part)->second;
  const std::size_t run = w.size() / std::max<std::size_t>(1, channel_of.size());
  for (std::size_t i = 0; i < w.size(); ++i) w[i] *= map.factor[channel_of[i / run]];
  op.has_bias = true;
  std::vector<float>& bias = net.weights[op.bias()];
  bias.resize(channels, 0);
  for (std::size_t c = 0; c < channels; ++c) bias[c] = bias[c] * map.factor[c] + map.shift[c];
}

// The channel of each run of weights, in their order.
std::vector<std::size_t> channels_of(const Net&, const Convolution& op, const Dimensions&) {
  std::vector<std::size_t> channels(op.outputs);
  for (std::size_t i = 0; i < channels.size(); ++i) channels[i] = i;
  return channels;
}
std::vector<std::size_t> channels_of(const Net&, const Linear& op, const Dimensions&) {
  std::vector<std::size_t> channels(op.rows);
  for (std::size_t i = 0; i < channels.size(); ++i) channels[i] = i;
  return channels;
}
std::vector<std::size_t> channels_of(const Net&, const TransposedConvolution& op, const Dimensions& x) {
  const std::size_t in_group = x[1].extent / op.groups, out_group = op.outputs / op.groups;
  std::vector<std::size_t> channels;
  for (std::size_t c = 0; c < x[1].extent; ++c)
    for (std::size_t o = 0; o < out_group; ++o) channels.push_back(c / in_group * out_group + o);
  return channels;
}

bool fold_into(Net& net, Wiring& wiring, Node& maker, const Node& reader) {
  return std::visit(
      [&]<class Op>(Op& op) {
        if constexpr (std::is_same_v<Op, Convolution> || std::is_same_v<Op, Linear> ||
                      std::is_same_v<Op, TransposedConvolution>) {
          // What multiplies codes stays exact.
          if (wiring.made_by<Dequantize>(maker.inputs[0]) != nullptr) return false;
          const Dimensions& made = net.graph.values[maker.output];
          const std::uint64_t channel = std::is_same_v<Op, Linear> ? made.size() - 1 : 1;
          if (!wiring.is_used_once(op.part) || net.graph.values[reader.output] != made) return false;
          const auto map = map_of(net, wiring, reader, maker.output, channel);
          if (!map) return false;
          put_into(net, op, made[channel].extent, *map, channels_of(net, op, net.graph.values[maker.inputs[0]]));
          return true;
        } else {
          return false;
        }
      },
      maker.operation);
}

// A number that a value is multiplied by: Binary multiply or divide with a stored number; 0: it is none.
float factor_of(Wiring& wiring, const Node& node, ValueId& x) {
  const auto* const binary = std::get_if<Binary>(&node.operation);
  if (binary == nullptr) return 0;
  for (const std::size_t at : {1u, 0u}) {
    const std::span<const float> numbers = wiring.stored(node.inputs[at]);
    if (numbers.size() != 1) continue;
    x = node.inputs[1 - at];
    if (binary->kind == Binary::Kind::multiply) return numbers[0];
    if (binary->kind == Binary::Kind::divide && at == 1) return 1 / numbers[0];
  }
  return 0;
}

bool is_near(float a, float b) { return std::abs(a - b) <= 1e-6F * std::abs(b); }

// Whether `value` is clip(x + 3, 0, 6).
bool is_shifted_clip(Wiring& wiring, ValueId value, ValueId x) {
  const auto* const clip = wiring.made_by<Unary>(value);
  if (clip == nullptr || clip->kind != Unary::Kind::clip || clip->a != 0 || clip->b != 6) return false;
  const ValueId sum = wiring.maker(value)->inputs[0];
  const auto* const add = wiring.made_by<Binary>(sum);
  if (add == nullptr || add->kind != Binary::Kind::add) return false;
  const std::vector<ValueId>& terms = wiring.maker(sum)->inputs;
  return (terms[0] == x && wiring.is_number(terms[1], 3)) || (terms[1] == x && wiring.is_number(terms[0], 3));
}

// Whether `value` is what hard_swish multiplies x by.
bool is_hard_gate(Wiring& wiring, ValueId value, ValueId x) {
  Node* const node = wiring.maker(value);
  if (node == nullptr) return false;
  if (const auto* const gate = std::get_if<Unary>(&node->operation))
    return gate->kind == Unary::Kind::hard_sigmoid && is_near(gate->a, 1.0F / 6) && is_near(gate->b, 0.5F) &&
           node->inputs[0] == x;
  ValueId inner = 0;
  return is_near(factor_of(wiring, *node, inner), 1.0F / 6) && is_shifted_clip(wiring, inner, x);
}

struct Product {
  ValueId a, b;
};
std::optional<Product> product_of(const Node& node) {
  const auto* const binary = std::get_if<Binary>(&node.operation);
  if (!std::holds_alternative<Multiply>(node.operation) &&
      (binary == nullptr || binary->kind != Binary::Kind::multiply))
    return std::nullopt;
  return Product{node.inputs[0], node.inputs[1]};
}

std::optional<ValueId> hard_swish_of(Wiring& wiring, const Node& node) {
  if (const auto product = product_of(node)) {
    if (is_hard_gate(wiring, product->b, product->a)) return product->a;
    if (is_hard_gate(wiring, product->a, product->b)) return product->b;
  }
  ValueId inner = 0;
  if (!is_near(factor_of(wiring, node, inner), 1.0F / 6)) return std::nullopt;
  const Node* const before = wiring.maker(inner);
  const auto product = before == nullptr ? std::nullopt : product_of(*before);
  if (!product) return std::nullopt;
  if (is_shifted_clip(wiring, product->b, product->a)) return product->a;
  if (is_shifted_clip(wiring, product->a, product->b)) return product->b;
  return std::nullopt;
}

std::optional<ValueId> silu_of(Wiring& wiring, const Node& node) {
  const auto product = product_of(node);
  if (!product) return std::nullopt;
  const auto gates = [&](ValueId gate, ValueId x) {
    return wiring.made_by<Sigmoid>(gate) != nullptr && wiring.maker(gate)->inputs[0] == x;
  };
  if (gates(product->b, product->a)) return product->a;
  if (gates(product->a, product->b)) return product->b;
  return std::nullopt;
}

// x, where a value is the mean of x along its last dimension.
std::optional<ValueId> mean_of(const Net& net, Wiring& wiring, ValueId value) {
  const auto* const reduce = wiring.made_by<Reduce>(value);
  if (reduce == nullptr || reduce->kind != Reduce::Kind::mean || !reduce->keeps_dimensions) return std::nullopt;
  const ValueId x = wiring.maker(value)->inputs[0];
  if (reduce->axes.size() != 1 || reduce->axes[0] + 1 != net.graph.values[x].size()) return std::nullopt;
  return x;
}

std::optional<ValueId> input_of(Wiring& wiring, ValueId value, Unary::Kind kind) {
  const auto* const unary = wiring.made_by<Unary>(value);
  if (unary == nullptr || unary->kind != kind) return std::nullopt;
  return wiring.maker(value)->inputs[0];
}

const Binary* binary_of(Wiring& wiring, ValueId value, Binary::Kind kind) {
  const auto* const binary = wiring.made_by<Binary>(value);
  return binary != nullptr && binary->kind == kind ? binary : nullptr;
}

// x and epsilon, where a node is (x - mean) / sqrt(mean((x - mean)^2) + epsilon).
std::optional<std::pair<ValueId, float>> norm_of(const Net& net, Wiring& wiring, const Node& node) {
  const auto* const divide = std::get_if<Binary>(&node.operation);
  if (divide == nullptr || divide->kind != Binary::Kind::divide) return std::nullopt;
  const ValueId centred = node.inputs[0];
  const auto sum = input_of(wiring, node.inputs[1], Unary::Kind::square_root);
  if (!sum || binary_of(wiring, *sum, Binary::Kind::add) == nullptr) return std::nullopt;
  const std::vector<ValueId>& terms = wiring.maker(*sum)->inputs;
  const std::span<const float> epsilon = wiring.stored(terms[1]);
  const auto squares = mean_of(net, wiring, terms[0]);
  if (epsilon.size() != 1 || !squares || wiring.maker(*squares) == nullptr) return std::nullopt;
  const auto product = product_of(*wiring.maker(*squares));
  if (!product || product->a != centred || product->b != centred) return std::nullopt;
  if (binary_of(wiring, centred, Binary::Kind::subtract) == nullptr) return std::nullopt;
  const std::vector<ValueId>& difference = wiring.maker(centred)->inputs;
  if (mean_of(net, wiring, difference[1]) != std::optional(difference[0])) return std::nullopt;
  return std::pair(difference[0], epsilon[0]);
}

enum class Norms { folded, kept };

std::size_t fold(Net& net, Norms norms) {
  std::size_t count = 0;
  Wiring wiring(net);
  for (std::size_t i = 0; i < net.graph.nodes.size(); ++i) {
    Node& reader = net.graph.nodes[i];
    if (norms == Norms::kept && std::holds_alternative<BatchNorm>(reader.operation)) continue;
    for (const ValueId input : std::vector<ValueId>(reader.inputs)) {
      Node* const maker = wiring.maker(input);
      if (maker == nullptr || !wiring.is_read_once(input) || !fold_into(net, wiring, *maker, reader)) continue;
      // The reader makes the same value another way: of what it read, as it is.
      reader.operation = Reshape{net.graph.values[reader.output]};
      reader.inputs = {input};
      ++count;
      break;
    }
  }
  // What is left of the readers is nothing: their values are those that they read.
  std::vector<ValueId> stands_for(net.graph.values.size());
  for (ValueId v = 0; v < stands_for.size(); ++v) stands_for[v] = v;
  std::vector<Node> kept;
  for (Node& node : net.graph.nodes) {
    for (ValueId& input : node.inputs) input = stands_for[input];
    const auto* const reshape = std::get_if<Reshape>(&node.operation);
    if (reshape != nullptr && reshape->shape == net.graph.values[node.inputs[0]]) {
      stands_for[node.output] = node.inputs[0];
      if (net.names[node.inputs[0]].empty() || !net.names[node.output].empty())
        net.names[node.inputs[0]] = net.names[node.output];
      continue;
    }
    kept.push_back(std::move(node));
  }
  net.graph.nodes = std::move(kept);
  for (ValueId& output : net.graph.outputs) output = stands_for[output];
  for (NetPort& output : net.outputs) output.value = stands_for[output.value];
  remove_unused(net);
  return count;
}

}  // namespace

std::size_t fold_channels(Net& net) { return fold(net, Norms::folded); }
std::size_t fold_numbers(Net& net) { return fold(net, Norms::kept); }

std::size_t find_activations(Net& net) {
  std::size_t count = 0;
  Wiring wiring(net);
  for (Node& node : net.graph.nodes) {
    if (const auto x = hard_swish_of(wiring, node)) {
      node.operation = Unary{Unary::Kind::hard_swish};
      node.inputs = {*x};
      ++count;
    } else if (const auto of = silu_of(wiring, node)) {
      node.operation = Silu{};
      node.inputs = {*of};
      ++count;
    }
  }
  remove_unused(net);
  return count;
}

std::size_t find_layer_norms(Net& net) {
  std::size_t count = 0;
  Wiring wiring(net);
  for (Node& node : net.graph.nodes) {
    const auto norm = norm_of(net, wiring, node);
    if (!norm) continue;
    node.operation = LayerNorm{"", false, net.graph.values[norm->first].size() - 1, norm->second};
    node.inputs = {norm->first};
    ++count;
  }
  remove_unused(net);
  return count;
}

std::vector<std::pair<std::string, std::size_t>> simplify(Net& net) {
  std::vector<std::pair<std::string, std::size_t>> found = {
      {"channel scales and sums folded", 0}, {"activations recognised", 0}, {"layer norms recognised", 0}};
  for (bool goes_on = true; goes_on;) {
    const std::size_t counts[] = {fold_channels(net), find_activations(net), find_layer_norms(net)};
    goes_on = false;
    for (std::size_t i = 0; i < found.size(); ++i) {
      found[i].second += counts[i];
      goes_on = goes_on || counts[i] != 0;
    }
  }
  return found;
}

void remove_unused(Net& net) {
  std::vector<bool> is_needed(net.graph.values.size(), false);
  for (const ValueId output : net.graph.outputs) is_needed[output] = true;
  std::vector<Node> kept;
  std::set<std::string> parts;
  for (std::size_t i = net.graph.nodes.size(); i-- > 0;) {
    Node& node = net.graph.nodes[i];
    if (!is_needed[node.output]) continue;
    for (const ValueId input : node.inputs) is_needed[input] = true;
    for (const WeightUse& use : net.graph.weights(node)) parts.insert(use.part);
    kept.push_back(std::move(node));
  }
  std::ranges::reverse(kept);
  net.graph.nodes = std::move(kept);
  std::erase_if(net.weights, [&](const auto& item) { return !parts.contains(item.first); });
}

}  // namespace nibble
