// SPDX-License-Identifier: Apache-2.0
#include "graph/drawing.h"

#include <algorithm>
#include <utility>

namespace nibble {

Value Drawing::apply(Operation operation, const std::vector<Value>& inputs) {
  Node node{.operation = std::move(operation),
            .inputs = {},
            .output = static_cast<ValueId>(graph_.values.size()),
            .state = std::nullopt};
  for (const Value input : inputs) node.inputs.push_back(input.id());
  const std::vector<Dimensions> shapes = graph_.input_shapes(node);
  graph_.values.push_back(std::visit(
      [&](const auto& op) {
        require_drawable(shapes.size() == op.kInputs || op.kInputs == kAnyInputs, op.kName, "inputs of another number");
        return op.output(shapes);
      },
      node.operation));
  if (const auto* const attention = std::get_if<Attention>(&node.operation)) {
    node.state = static_cast<std::uint32_t>(graph_.states.size());
    const bool is_received =
        std::ranges::find(graph_.received, node.inputs[1], &Crossing::value) != graph_.received.end();
    graph_.states.push_back({attention->kv_heads, attention->head_dim, attention->window, is_received});
  }
  if (const auto* const latent = std::get_if<LatentAttention>(&node.operation)) {
    node.state = static_cast<std::uint32_t>(graph_.states.size());
    graph_.states.push_back({.kv_heads = 1, .head_dim = latent->kept_width(), .values_are_keys = true});
  }
  const auto recur = [&](std::uint64_t numbers) {
    node.state = static_cast<std::uint32_t>(graph_.recurrent.size());
    graph_.recurrent.push_back({numbers});
  };
  if (const auto* const convolution = std::get_if<CausalConvolution>(&node.operation))
    recur(convolution->state_size(shapes));
  if (const auto* const rule = std::get_if<GatedDeltaRule>(&node.operation)) recur(rule->state_size());
  graph_.nodes.push_back(std::move(node));
  return Value(graph_.nodes.back().output);
}

Value Drawing::input(Dimensions shape) {
  graph_.inputs.push_back(static_cast<ValueId>(graph_.values.size()));
  graph_.values.push_back(std::move(shape));
  return Value(graph_.inputs.back());
}

Value Drawing::receive(std::string name, Dimensions shape) {
  const Value value = input(std::move(shape));
  graph_.received.push_back({std::move(name), value.id()});
  return value;
}

void Drawing::pass_on(std::string name, Value x) { graph_.passed.push_back({std::move(name), x.id()}); }

Value Drawing::embedding(std::string part, std::uint64_t vocabulary, std::uint64_t width) {
  return apply(Embedding{std::move(part), vocabulary, width}, {});
}

Value Drawing::rms_norm(Value x, std::string part, float epsilon) {
  return apply(RmsNorm{std::move(part), epsilon, 0}, {x});
}

Value Drawing::rms_norm_heads(Value x, std::string part, float epsilon, std::uint64_t group) {
  return apply(RmsNorm{std::move(part), epsilon, group}, {x});
}

Value Drawing::linear(Value x, const std::string& site, const LinearSpec& spec) {
  return apply(Linear{spec.part, site, spec.rows, spec.has_bias, spec.role}, {x});
}

Value Drawing::rope(Value x, Rope rope) { return apply(std::move(rope), {x}); }

Value Drawing::attention(Value queries, Value keys, Value values, Attention attention) {
  return apply(std::move(attention), {queries, keys, values});
}

Value Drawing::latent_attention(const LatentInputs& inputs, LatentAttention attention) {
  return apply(attention, {inputs.queries, inputs.turned_queries, inputs.keys_values, inputs.turned_keys});
}

Value Drawing::add(Value a, Value b) { return apply(Add{}, {a, b}); }

Value Drawing::multiply(Value a, Value b) { return apply(Multiply{}, {a, b}); }

Value Drawing::silu(Value x) { return apply(Silu{}, {x}); }

Value Drawing::gelu(Value x) { return apply(Gelu{}, {x}); }

Value Drawing::squared_relu(Value x) { return apply(SquaredRelu{}, {x}); }

Value Drawing::clamped_swiglu(Value gate, Value up, ClampedSwiglu op) { return apply(op, {gate, up}); }

Value Drawing::scale(Value x, float factor) { return apply(Scale{factor}, {x}); }

Value Drawing::gain(Value x, std::string part) { return apply(Gain{std::move(part)}, {x}); }

Value Drawing::scale_by_position(Value x, float growth, std::uint64_t period) {
  return apply(PositionScale{growth, period}, {x});
}

Value Drawing::slice(Value x, std::uint64_t begin, std::uint64_t count) { return apply(Slice{begin, count}, {x}); }

Value Drawing::slice_heads(Value x, std::uint64_t group, std::uint64_t begin, std::uint64_t count) {
  return apply(Slice{begin, count, group}, {x});
}

Value Drawing::scale_tokens(Value x, Value factors) { return apply(ScaleTokens{}, {x, factors}); }

Value Drawing::sigmoid(Value x) { return apply(Sigmoid{}, {x}); }

Value Drawing::l2_norm_heads(Value x, float epsilon, std::uint64_t group) { return apply(L2Norm{epsilon, group}, {x}); }

Value Drawing::causal_convolution(Value x, std::string part, std::uint64_t taps) {
  return apply(CausalConvolution{std::move(part), taps}, {x});
}

Value Drawing::gated_delta_rule(const DeltaInputs& inputs, GatedDeltaRule rule) {
  return apply(std::move(rule), {inputs.queries, inputs.keys, inputs.values, inputs.forgets, inputs.learns});
}

Value Drawing::route(Value logits, Route route) { return apply(route, {logits}); }

Value Drawing::expert_linear(Value x, Value routing, const std::string& site, std::string part, std::uint64_t rows,
                             bool has_bias) {
  return apply(ExpertLinear{std::move(part), site, rows, has_bias}, {x, routing});
}

Value Drawing::mix_experts(Value x, Value routing) { return apply(MixExperts{}, {x, routing}); }

Value Drawing::soft_cap(Value x, float cap) { return apply(SoftCap{cap}, {x}); }

Graph Drawing::finish(const std::vector<Value>& outputs) && {
  for (const Value output : outputs) graph_.outputs.push_back(output.id());
  for (const Crossing& crossing : graph_.passed) graph_.outputs.push_back(crossing.value);
  return std::move(graph_);
}

}  // namespace nibble
