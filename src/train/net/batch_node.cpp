// SPDX-License-Identifier: Apache-2.0
#include "train/net/batch_node.h"

#include <fmt/format.h>

#include <type_traits>

#include "graph/extents.h"
#include "net/net.h"
#include "nibble/error.h"
#include "train/net/batch_products.h"
#include "train/net/recurrent_gradients.h"
#include "train/net/sample_gradients.h"

namespace nibble {
namespace {

template <class Op, class... Kinds>
constexpr bool is_one_of = (std::is_same_v<Op, Kinds> || ...);

// Those that only put numbers elsewhere.
template <class Op>
constexpr bool kMoves = is_one_of<Op, Concat, Expand, Gather, Pad, Reshape, Resize, Slice, StridedSlice, Transpose>;
template <class Op>
constexpr bool kIsOfSample = is_one_of<Op, Binary, MatrixProduct, Pooling, Reduce, Select, Softmax, Unary>;
template <class Op>
constexpr bool kHasWeights = is_one_of<Op, BatchNorm, Convolution, LayerNorm, Linear, TransposedConvolution>;
template <class Op>
constexpr bool kRecurs = is_one_of<Op, Gru, Lstm>;

constexpr std::uint64_t kMostPlaces = std::uint64_t{1} << 24;  // whole numbers that f32 tells apart

std::size_t size_of(const BatchNode& node, std::size_t input) { return numbers_of(node.shapes[input]); }

// Of each number that is made the place that it was read from, counted over all inputs from 1; 0: from none.
std::vector<std::size_t> places_read(const BatchNode& node, std::size_t made) {
  std::vector<std::vector<float>> places;
  std::vector<std::span<const float>> inputs;
  float next = 1;
  const bool looks_up = std::holds_alternative<Gather>(node.operation);
  std::uint64_t all = 0;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) all += size_of(node, k);
  if (all >= kMostPlaces)
    throw Error(ErrorKind::unsupported, fmt::format("a value is too large to be trained through: {} numbers", all));
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    places.emplace_back();
    if (looks_up && k == 1) continue;
    for (std::size_t i = 0; i < size_of(node, k); ++i) places[k].push_back(next++);
  }
  for (std::size_t k = 0; k < node.inputs.size(); ++k)
    inputs.push_back(looks_up && k == 1 ? node.inputs[k].numbers : std::span<const float>(places[k]));
  Operation operation = node.operation;
  if (auto* const pad = std::get_if<Pad>(&operation)) pad->value = 0;
  const std::vector<float> read = evaluate_operation(operation, node.shapes, inputs, node.weight, nullptr);
  std::vector<std::size_t> found(made);
  for (std::size_t i = 0; i < made; ++i) found[i] = static_cast<std::size_t>(read[i]);
  return found;
}

void add_moved(const BatchNode& node, const BatchGradients& into, Machine& machine) {
  const std::size_t made = into.output.size() / node.samples;
  const std::vector<std::size_t> places = places_read(node, made);
  std::size_t first = 1;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    const std::size_t size = size_of(node, k);
    const std::span<float> by = into.inputs[k];
    if (!by.empty())
      machine.pool.parallel_for(node.samples, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t sample = begin; sample < end; ++sample)
          for (std::size_t i = 0; i < made; ++i)
            if (places[i] >= first && places[i] < first + size)
              by[sample * size + places[i] - first] += into.output[sample * made + i];
      });
    first += size;
  }
}

SampleGradient sample_of(const BatchNode& node, std::span<const float> made, const BatchGradients& into,
                         std::size_t sample) {
  const std::size_t size = into.output.size() / node.samples;
  SampleGradient g{.shapes = node.shapes,
                   .inputs = {},
                   .made = made.subspan(sample * size, size),
                   .by_made = into.output.subspan(sample * size, size),
                   .by_inputs = {}};
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    g.inputs.push_back(node.inputs[k].of(sample, node.samples));
    const std::span<float> by = into.inputs[k];
    const std::size_t input_size = by.size() / node.samples;
    g.by_inputs.push_back(by.empty() ? by : by.subspan(sample * input_size, input_size));
  }
  return g;
}

// Operations that decoders have as well know their gradient themselves.
template <class Op>
void add_own(const Op& op, const BatchNode& node, std::span<const float> made, const BatchGradients& into) {
  for (std::size_t sample = 0; sample < node.samples; ++sample) {
    const SampleGradient g = sample_of(node, made, into, sample);
    const Operands operands{.tokens = static_cast<std::size_t>(rows_of(node.shapes[0])),
                            .inputs = g.inputs,
                            .ids = {},
                            .weight = node.weight};
    op.gradient(operands, node.shapes, g.by_made, {g.by_inputs, into.weight});
  }
}

}  // namespace

void evaluate_batch(const BatchNode& node, std::span<float> output, Machine& machine) {
  if (const auto* const linear = std::get_if<Linear>(&node.operation))
    return evaluate_batch(*linear, node, output, machine);
  if (const auto* const convolution = std::get_if<Convolution>(&node.operation))
    return evaluate_batch(*convolution, node, output, machine);
  const std::size_t size = output.size() / node.samples;
  machine.pool.parallel_for(node.samples, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t sample = begin; sample < end; ++sample) {
      Operands operands{.tokens = node.shapes.empty() ? 1 : static_cast<std::size_t>(rows_of(node.shapes[0])),
                        .inputs = {},
                        .ids = {},
                        .weight = node.weight};
      for (const BatchOperand& input : node.inputs) operands.inputs.push_back(input.of(sample, node.samples));
      std::visit([&](const auto& op) { op.evaluate(operands, node.shapes, output.subspan(sample * size, size)); },
                 node.operation);
    }
  });
}

void add_gradients(const BatchNode& node, std::span<const float> made, const BatchGradients& into, Machine& machine) {
  std::visit(
      [&]<class Op>(const Op& op) {
        if constexpr (kHasWeights<Op>) {
          add_gradients(op, node, into, machine);
        } else if constexpr (kRecurs<Op>) {
          add_gradients(op, node, made, into, machine);
        } else if constexpr (kMoves<Op>) {
          add_moved(node, into, machine);
        } else if constexpr (kIsOfSample<Op>) {
          machine.pool.parallel_for(node.samples, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
            for (std::size_t sample = begin; sample < end; ++sample)
              add_gradient(op, sample_of(node, made, into, sample));
          });
        } else if constexpr (Op::kGradient.exists) {
          add_own(op, node, made, into);
        } else {
          refuse_gradient(Op::kName);
        }
      },
      node.operation);
}

std::string gradient_refusal(const Operation& operation) {
  return std::visit(
      []<class Op>(const Op& op) -> std::string {
        if constexpr (is_one_of<Op, Quantize, Dequantize, DynamicRange>) {
          return "it is rounded to codes already: train the net that it was made from";
        } else if constexpr (std::is_same_v<Op, Resize>) {
          return op.kind == Resize::Kind::nearest ? "" : "of resizing, only that to the nearest place is trained yet";
        } else if constexpr (std::is_same_v<Op, Reduce>) {
          return op.kind == Reduce::Kind::product ? "products along a dimension are not trained yet" : "";
        } else if constexpr (std::is_same_v<Op, Constant> || kHasWeights<Op> || kRecurs<Op> || kMoves<Op> ||
                             kIsOfSample<Op>) {
          return "";
        } else {
          return Op::kGradient.exists ? std::string() : std::string(Op::kGradient.reason);
        }
      },
      operation);
}

}  // namespace nibble
