// SPDX-License-Identifier: Apache-2.0
//
// Steps of products and of windows.
#include <algorithm>

#include "net/engine/bit_step.h"
#include "net/engine/convolution_step.h"
#include "net/engine/lstm_step.h"
#include "net/engine/point_steps.h"
#include "net/engine/program_builder.h"

namespace nibble::net_engine {
namespace {

std::span<const float> bias_of(const Net& net, const std::string& part) {
  return part.empty() ? std::span<const float>{} : net.weight(part);
}

}  // namespace

void ProgramBuilder::emit_product(const Node& end, const FloatFusion& fusion) {
  if (const auto& of_signs = of_signs_[readers_.place(*fusion.product)])
    return emit_bit_product(end, fusion, *of_signs);
  if (const auto* const op = std::get_if<Convolution>(&fusion.product->operation))
    emit_convolution(end, fusion, *op);
  else
    emit_linear(end, fusion, std::get<Linear>(fusion.product->operation));
}

void ProgramBuilder::emit_convolution(const Node& end, const FloatFusion& fusion, const Convolution& op) {
  const ValueId input = fusion.product->inputs[0];
  ConvolutionViews views;
  views.x = need(input, Layout::places);
  if (fusion.added) views.added = need(*fusion.added, Layout::places);
  views.y = make(end.output, Layout::places);
  const View x = views.x, y = views.y, added = views.added.value_or(views.y);
  const ProductShape product{.groups = static_cast<std::size_t>(op.groups),
                             .inputs = static_cast<std::size_t>(shape(input)[1].extent),
                             .outputs = static_cast<std::size_t>(op.outputs),
                             .window = op.window.plane(shape(input))};
  if (x.strides.size() == 4) views.x.offset -= product.window.top * x.strides[2];
  views.x.offset -= product.window.left * x.strides.back();
  push(float_convolution(product, views, net_.weight(op.part), bias_of(net_, op.bias()), fusion.low, fusion.high),
       {&x, &y, &added});
}

void ProgramBuilder::emit_linear(const Node& end, const FloatFusion& fusion, const Linear& op) {
  const ValueId input = fusion.product->inputs[0];
  ConvolutionViews views;
  views.x = need(input, Layout::rows);
  if (fusion.added) views.added = need(*fusion.added, Layout::rows);
  views.y = make(end.output, Layout::rows);
  const View x = views.x, y = views.y, added = views.added.value_or(views.y);
  const ProductShape product{.inputs = static_cast<std::size_t>(width_of(shape(input))),
                             .outputs = static_cast<std::size_t>(op.rows),
                             .is_linear = true};
  push(float_convolution(product, views, net_.weight(op.part), bias_of(net_, op.bias()), fusion.low, fusion.high),
       {&x, &y, &added});
}

void ProgramBuilder::emit_bit_product(const Node& end, const FloatFusion& fusion, ValueId of_signs) {
  const Node& node = *fusion.product;
  const auto* const op = std::get_if<Convolution>(&node.operation);
  const Layout layout = op == nullptr ? Layout::rows : Layout::places;
  const WeightUse use = net_.graph.weights(node)[0];
  const auto outputs = static_cast<std::size_t>(use.shape[0]);
  BitProduct product{.shape = {.outputs = outputs, .is_linear = op == nullptr},
                     .weights = *bit_weights(net_.weight(use.part), outputs),
                     .low = fusion.low,
                     .high = fusion.high};
  product.shape.inputs =
      static_cast<std::size_t>(op == nullptr ? width_of(shape(of_signs)) : shape(of_signs)[1].extent);
  if (op != nullptr) product.shape.window = op->window.plane(shape(of_signs));
  BitViews views;
  views.x = need(of_signs, layout);
  views.y = make(end.output, layout);
  const BitRoom wanted = bit_room(product.shape, views.x, views.y, product.weights.is_ternary);
  const auto room = [&](std::size_t numbers) { return buffer_for(rows_view({numbers}), numbers); };
  views.bits = room(wanted.bits);
  views.seen = room(wanted.seen);
  views.sums = room(wanted.sums);
  const std::string bias = op == nullptr ? std::get<Linear>(node.operation).bias() : op->bias();
  push(bit_product(product, views, net_.weight(use.part), bias_of(net_, bias)),
       {&views.x, &views.y, &views.bits, &views.seen, &views.sums});
}

void ProgramBuilder::emit_pooling(const Node& node, const Pooling& op) {
  const View x = need(node.inputs[0], Layout::places), y = make(node.output, Layout::places);
  push(pool_step(op, shape(node.inputs[0]), x, y), {&x, &y});
}

void ProgramBuilder::emit_lstm(const Node& node, const Lstm& op) {
  LstmViews views{.x = need(node.inputs[0], Layout::rows),
                  .first_hidden = need(node.inputs[1], Layout::rows),
                  .first_cell = need(node.inputs[2], Layout::rows),
                  .y = make(node.output, Layout::rows),
                  .gates = {},
                  .memory = {}};
  const std::uint64_t rows = views.x.extents[0] * views.x.extents[1], sequences = views.x.extents[1];
  const auto room = [&](std::uint64_t numbers) {
    return buffer_for(rows_view({numbers}), static_cast<std::size_t>(numbers_of(Extents{numbers})));
  };
  views.gates = room(rows * 4 * op.hidden);
  views.memory = room(7 * sequences * op.hidden);
  const View x = views.x, h = views.first_hidden, c = views.first_cell, y = views.y, gates = views.gates,
             memory = views.memory;
  push(lstm_step(op, views,
                 {net_.weight(op.part), net_.weight(op.part + ".recurrent"),
                  op.has_bias ? net_.weight(op.part + ".bias") : std::span<const float>{}}),
       {&x, &h, &c, &y, &gates, &memory});
}

// Means over all places of an image are a pooling.
bool ProgramBuilder::emit_mean(const Node& node, const Reduce& op) {
  const ValueId input = node.inputs[0];
  if (op.kind != Reduce::Kind::mean || !fits_places(input)) return false;
  const std::size_t spatial = shape(input).size() - 2;
  if (op.axes.size() != spatial || op.axes[0] != 2) return false;
  const Extents there = extents(input);
  if (numbers_of(there) == 0) return false;
  const std::vector<std::uint64_t> ones(spatial, 1), none(spatial, 0);
  const Pooling pooling{.kind = Pooling::Kind::average,
                        .window = {{there.begin() + 2, there.end()}, ones, ones, none, none}};
  Extents made = {there[0], there[1]};
  made.resize(there.size(), 1);
  const View x = need(input, Layout::places), y = make(node.output, Layout::rows);
  std::size_t numbers = 0;
  View places = places_view(made, {}, numbers);
  places.buffer = y.buffer;
  push(pool_step(pooling, shape(input), x, places), {&x, &y});
  return true;
}

}  // namespace nibble::net_engine
