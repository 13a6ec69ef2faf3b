// SPDX-License-Identifier: Apache-2.0
#include "train/graph_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kShardTokens = 32;

bool reads_inputs_backwards(const Node& node) {
  return std::visit([](const auto& op) { return op.kGradient.reads_inputs; }, node.operation);
}

}  // namespace

GraphRun::GraphRun(const Graph& graph, std::int64_t layer, NetworkWeights& weights, const SequenceBatch& batch,
                   TapeRoom& room)
    : graph_(graph),
      layer_(layer),
      weights_(weights),
      batch_(batch),
      room_(room),
      loops_(training_loops(room.machine.isa)),
      values_(graph.values.size()),
      gradients_(graph.values.size()),
      given_needs_(graph.values.size()) {}

GraphRun::~GraphRun() {
  for (Value& value : values_) release(value);
  for (std::vector<float>& gradient : gradients_) room_.buffers.give_back(std::move(gradient));
}

void GraphRun::release(Value& value) {
  room_.buffers.give_back(std::move(value.own));
  value = {};
}

void GraphRun::give(ValueId input, std::span<const float> numbers, bool needs_gradient) {
  values_[input].numbers = numbers;
  given_needs_[input] = needs_gradient;
}

std::span<float> GraphRun::take_value(ValueId value) { return values_[value].own; }

// A value needs a gradient where one of what it is made from does.
void GraphRun::mark_needs() {
  needs_gradient_ = given_needs_;
  for (const Node& node : graph_.nodes) {
    bool needs = std::ranges::any_of(node.inputs, [&](ValueId input) { return needs_gradient_[input]; });
    for (const WeightUse& use : graph_.weights(node)) needs = needs || !weight_gradient(use.part).empty();
    needs_gradient_[node.output] = needs;
  }
}

std::vector<bool> GraphRun::values_to_make(Keep keep) const {
  std::vector<bool> wanted(graph_.values.size());
  for (const ValueId output : graph_.outputs) wanted[output] = keep != Keep::inputs_of_gradients;
  for (auto node = graph_.nodes.rbegin(); node != graph_.nodes.rend(); ++node) {
    const bool is_read = keep != Keep::outputs && needs_gradient_[node->output] && reads_inputs_backwards(*node);
    for (const ValueId input : node->inputs) wanted[input] = wanted[input] || is_read || wanted[node->output];
  }
  return wanted;
}

void GraphRun::forward(Keep keep) {
  mark_needs();
  const std::vector<bool> wanted = values_to_make(keep);
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (!wanted[node.output]) continue;
    run_forward(node);
    for (const ValueId input : node.inputs) {  // what nobody behind reads goes
      const bool is_kept =
          keep != Keep::outputs || std::ranges::find(graph_.outputs, input) != graph_.outputs.end() ||
          std::any_of(graph_.nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, graph_.nodes.end(),
                      [&](const Node& later) { return std::ranges::find(later.inputs, input) != later.inputs.end(); });
      if (!is_kept && !values_[input].own.empty()) release(values_[input]);
    }
  }
}

void GraphRun::add_gradient(ValueId output, std::span<const float> gradient) {
  bool has = false;
  const std::span<float> sum = gradient_of(output, &has);
  room_.machine.pool.parallel_for(sum.size(), std::size_t{1} << 16,
                                  [&](std::size_t begin, std::size_t end, std::size_t) {
                                    for (std::size_t i = begin; i < end; ++i)
                                      sum[i] = has ? sum[i] + gradient[i] : gradient[i];
                                  });
}

void GraphRun::backward() {
  for (auto node = graph_.nodes.rbegin(); node != graph_.nodes.rend(); ++node) {
    if (needs_gradient_[node->output] && !gradients_[node->output].empty()) run_backward(*node);
    release(values_[node->output]);
    room_.buffers.give_back(std::move(gradients_[node->output]));
    gradients_[node->output] = {};
  }
}

// --- what operations are given --------------------------------------------------------------------------------------

const Matrix& GraphRun::weight(std::string_view part) const {
  const NetworkWeight* const found = weights_.find(layer_, part);
  if (found == nullptr)
    throw Error(ErrorKind::internal,
                fmt::format("a drawing reads a weight that is not there: {} of layer {}", part, layer_));
  return found->values;
}

std::span<float> GraphRun::weight_gradient(std::string_view part) {
  NetworkWeight* const found = weights_.find(layer_, part);
  return found == nullptr ? std::span<float>{} : std::span<float>(found->gradient);
}

std::vector<float>& GraphRun::make(ValueId value, std::size_t size) {
  release(values_[value]);
  values_[value].own = room_.buffers.take(size);
  values_[value].numbers = values_[value].own;
  return values_[value].own;
}

std::span<float> GraphRun::gradient_of(ValueId value, bool* has) {
  if (!needs_gradient_[value]) return {};
  std::vector<float>& gradient = gradients_[value];
  if (has != nullptr) *has = !gradient.empty();
  if (!gradient.empty()) return gradient;
  const std::size_t rows = is_by_expert(value) ? expert_rows_ : batch_.tokens();
  gradient = room_.buffers.take(rows * graph_.width(value));
  if (has == nullptr)
    room_.machine.pool.parallel_for(gradient.size(), std::size_t{1} << 18,
                                    [&](std::size_t begin, std::size_t end, std::size_t) {
                                      std::fill(&gradient[begin], &gradient[begin] + (end - begin), 0.0F);
                                    });
  return gradient;
}

std::vector<GraphRun::Shard> GraphRun::shards_of(const Node& node, bool mixes_tokens) const {
  const bool by_expert = is_by_expert(node.output);
  const std::size_t sequences = by_expert ? 1 : batch_.sequences, length = by_expert ? expert_rows_ : batch_.length;
  const std::size_t step = mixes_tokens ? length : kShardTokens;
  std::vector<Shard> shards;
  for (std::size_t s = 0; s < sequences; ++s)
    for (std::size_t t = 0; t < length; t += step) shards.push_back({s * length + t, std::min(step, length - t), t});
  return shards;
}

// Operations that look at numbers one by one take an expert's rows for tokens.
std::vector<Dimensions> GraphRun::shapes_of(const Node& node) const {
  std::vector<Dimensions> shapes = graph_.input_shapes(node);
  for (Dimensions& shape : shapes)
    if (shape.size() == 3) shape = token_rows(shape.back().extent);
  return shapes;
}

Operands GraphRun::operands_of(const Node& node, const Shard& shard) const {
  Operands operands{.tokens = shard.tokens,
                    .inputs = {},
                    .ids = std::holds_alternative<Embedding>(node.operation) ? ids_.subspan(shard.first, shard.tokens)
                                                                             : std::span<const std::int32_t>{},
                    .weight = [this](std::string_view part) { return std::span<const float>(weight(part).values); },
                    .position = shard.position,
                    .length = batch_.length};
  for (const ValueId input : node.inputs) {
    const std::size_t width = graph_.width(input);
    const std::span<const float> numbers = values_[input].numbers;
    operands.inputs.push_back(numbers.empty() ? numbers : numbers.subspan(shard.first * width, shard.tokens * width));
  }
  return operands;
}

// --- operations by their own arithmetic -----------------------------------------------------------------------------

void GraphRun::run_forward(const Node& node) {
  std::visit([&](const auto& op) { run_forward(node, op); }, node.operation);
}

void GraphRun::run_backward(const Node& node) {
  std::visit([&](const auto& op) { run_backward(node, op); }, node.operation);
}

template <class Op>
void GraphRun::run_forward(const Node& node, const Op& op) {
  const std::size_t width = graph_.width(node.output);
  std::vector<float>& output = make(node.output, (is_by_expert(node.output) ? expert_rows_ : batch_.tokens()) * width);
  const std::vector<Dimensions> shapes = shapes_of(node);
  const std::vector<Shard> shards = shards_of(node, Op::kMixesTokens);
  room_.machine.pool.parallel_for(shards.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i)
      op.evaluate(operands_of(node, shards[i]), shapes,
                  std::span(output).subspan(shards[i].first * width, shards[i].tokens * width));
  });
}

// Every shard has sums of its own for weights, which are added in order.
template <class Op>
void GraphRun::run_backward(const Node& node, const Op& op) {
  const std::vector<Dimensions> shapes = shapes_of(node);
  const std::vector<Shard> shards = shards_of(node, Op::kMixesTokens);
  std::vector<std::span<float>> inputs;
  for (const ValueId input : node.inputs) inputs.push_back(gradient_of(input));
  struct Trained {
    std::string part;
    std::span<float> gradient;
    std::size_t place;  // in a shard's sums
  };
  std::vector<Trained> trained;
  std::size_t numbers = 0;
  for (const WeightUse& use : graph_.weights(node))
    if (const std::span<float> gradient = weight_gradient(use.part); !gradient.empty()) {
      trained.push_back({use.part, gradient, numbers});
      numbers += gradient.size();
    }
  std::vector<float> sums(shards.size() * numbers);
  const std::vector<float>& dy = gradients_[node.output];
  const std::size_t width = graph_.width(node.output);
  room_.machine.pool.parallel_for(shards.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      const Shard& shard = shards[i];
      Gradients into;
      for (std::size_t k = 0; k < inputs.size(); ++k) {
        const std::size_t input_width = graph_.width(node.inputs[k]);
        into.inputs.push_back(
            inputs[k].empty() ? inputs[k] : inputs[k].subspan(shard.first * input_width, shard.tokens * input_width));
      }
      into.weight = [&](std::string_view part) {
        const auto found = std::ranges::find(trained, part, &Trained::part);
        if (found == trained.end()) return std::span<float>{};
        return std::span<float>(sums).subspan(i * numbers + found->place, found->gradient.size());
      };
      op.gradient(operands_of(node, shard), shapes,
                  std::span<const float>(dy).subspan(shard.first * width, shard.tokens * width), into);
    }
  });
  for (const Trained& weight : trained)
    for (std::size_t i = 0; i < shards.size(); ++i)
      for (std::size_t j = 0; j < weight.gradient.size(); ++j)
        weight.gradient[j] += sums[i * numbers + weight.place + j];
}

// Rows of a large matrix: tokens after tokens, whatever row they are of.
void GraphRun::run_backward(const Node& node, const Embedding& op) {
  const std::vector<float>& dy = gradients_[node.output];
  op.gradient(operands_of(node, {0, batch_.tokens(), 0}), {}, dy,
              {.inputs = {}, .weight = [&](std::string_view part) { return weight_gradient(part); }});
}

}  // namespace nibble
