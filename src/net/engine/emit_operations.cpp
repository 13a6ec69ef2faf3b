// SPDX-License-Identifier: Apache-2.0
//
// Steps of what stands between products: numbers that are moved, functions of numbers, and what the reference
// arithmetic is left with.
#include <algorithm>

#include "net/engine/lstm_step.h"
#include "net/engine/point_steps.h"
#include "net/engine/program_builder.h"

namespace nibble::net_engine {
namespace {

// A value as it is repeated along extents of 1 to a shape.
View repeated(View view, const Extents& shape) {
  const std::size_t missing = shape.size() - view.extents.size();
  view.strides.insert(view.strides.begin(), missing, 0);
  for (std::size_t i = missing; i < shape.size(); ++i)
    if (view.extents[i - missing] == 1) view.strides[i] = 0;
  view.extents = shape;
  return view;
}

// What an operation that only moves numbers sees of x, of the shape of its result; nothing: it does more than that.
std::optional<View> seen_by(const Operation& operation, View x, const Extents& shape) {
  if (const auto* const op = std::get_if<Transpose>(&operation)) {
    View turned = x;
    for (std::size_t i = 0; i < op->order.size(); ++i) {
      turned.extents[i] = x.extents[op->order[i]];
      turned.strides[i] = x.strides[op->order[i]];
    }
    return turned;
  }
  if (const auto* const op = std::get_if<StridedSlice>(&operation)) {
    for (std::size_t i = 0; i < shape.size(); ++i) {
      x.offset += static_cast<std::ptrdiff_t>(op->begin[i]) * x.strides[i];
      x.strides[i] *= static_cast<std::ptrdiff_t>(op->step[i]);
    }
    x.extents = shape;
    return x;
  }
  if (std::holds_alternative<Expand>(operation)) return repeated(std::move(x), shape);
  return std::nullopt;
}

}  // namespace

void ProgramBuilder::emit(const Node& node) {
  if (const auto& fusion = code_fusions_[readers_.place(node)]) return emit_codes(node, *fusion);
  if (const auto& fusion = fusions_[readers_.place(node)]) return emit_product(node, *fusion);
  if (const auto* const op = std::get_if<Constant>(&node.operation)) {
    View view = buffer_for(rows_view(extents(node.output)), 0);
    program_.buffers.back().given = net_.weight(op->part).data();
    return set(node.output, Layout::rows, view);
  }
  if (const auto* const op = std::get_if<Pooling>(&node.operation)) {
    if (!emit_code_pooling(node, *op)) emit_pooling(node, *op);
    return;
  }
  if (std::holds_alternative<Dequantize>(node.operation) && values_.is_code(node.inputs[0]) &&
      grid_of(net_, readers_, node))
    return;  // when someone asks for it
  if (std::holds_alternative<Quantize>(node.operation) && emit_quantize(node)) return;
  if (const auto* const op = std::get_if<Reduce>(&node.operation); op != nullptr && emit_mean(node, *op)) return;
  if (const auto* const op = std::get_if<Lstm>(&node.operation); op != nullptr && has_lstm_step(*op))
    return emit_lstm(node, *op);
  if (std::holds_alternative<Reshape>(node.operation)) return emit_reshape(node);
  if (const auto* const op = std::get_if<Concat>(&node.operation)) return emit_concat(node, *op);
  if (const auto* const op = std::get_if<Pad>(&node.operation); op != nullptr && emit_pad(node, *op)) return;
  if (const auto* const op = std::get_if<Gather>(&node.operation); op != nullptr && emit_gather(node, *op)) return;
  if (emit_movement(node) || emit_function(node)) return;
  emit_reference(node);
}

void ProgramBuilder::emit_reshape(const Node& node) {
  View view = need(node.inputs[0], Layout::rows, element_of(node.inputs[0]));
  const View named = rows_view(extents(node.output));
  view.extents = named.extents;
  view.strides = named.strides;
  set(node.output, Layout::rows, view);
}

bool ProgramBuilder::emit_movement(const Node& node) {
  if (node.inputs.size() != 1) return false;
  const Element element = values_.is_code(node.output) ? element_of(node.inputs[0]) : Element::f32;
  const View x = any(node.inputs[0], element);
  const std::optional<View> seen = seen_by(node.operation, x, extents(node.output));
  if (!seen) return false;
  const bool turns = std::holds_alternative<Transpose>(node.operation);
  const bool goes_to_places = fits_places(node.output) &&
                              (wants_places(node.output) || (!turns && !has(node.inputs[0], Layout::rows, element)));
  const View y = make(node.output, goes_to_places ? Layout::places : Layout::rows, element);
  push(move_step(*seen, y), {&x, &y});
  return true;
}

// Places that are known, in runs that go on by the same step.
bool ProgramBuilder::emit_gather(const Node& node, const Gather& op) {
  const std::span<const float> stored = stored_numbers(net_, readers_, node.inputs[1]);
  const std::size_t rank = shape(node.inputs[1]).size();
  if (stored.empty() || rank > 1) return false;
  struct Stretch {
    std::ptrdiff_t first, step;
    std::size_t count;
  };
  const auto extent = static_cast<std::ptrdiff_t>(shape(node.inputs[0])[op.axis].extent);
  std::vector<Stretch> runs;
  for (const float number : stored) {
    std::ptrdiff_t at = static_cast<std::ptrdiff_t>(number);
    if (at < 0) at += extent;
    if (at < 0 || at >= extent) return false;
    if (!runs.empty()) {
      Stretch& last = runs.back();
      if (last.count == 1) last.step = at - last.first;
      if (at == last.first + last.step * static_cast<std::ptrdiff_t>(last.count)) {
        ++last.count;
        continue;
      }
    }
    runs.push_back({at, 0, 1});
  }
  constexpr std::size_t kMostRuns = 64;
  if (runs.size() > kMostRuns) return false;
  const Element element = values_.is_code(node.output) ? element_of(node.inputs[0]) : Element::f32;
  const View x = any(node.inputs[0], element);
  const View y = make(node.output, layout_of_result(node.inputs[0], node.output), element);
  View part = y;
  for (const Stretch& run : runs) {
    View seen = x;
    seen.offset += run.first * x.strides[op.axis];
    seen.strides[op.axis] *= run.step;
    seen.extents[op.axis] = run.count;
    if (rank == 0) {
      seen.extents.erase(seen.extents.begin() + static_cast<std::ptrdiff_t>(op.axis));
      seen.strides.erase(seen.strides.begin() + static_cast<std::ptrdiff_t>(op.axis));
      push(move_step(seen, y), {&x, &y});
      return true;
    }
    part.extents = seen.extents;
    push(move_step(seen, part), {&x, &y});
    part.offset += static_cast<std::ptrdiff_t>(run.count) * y.strides[op.axis];
  }
  return true;
}

void ProgramBuilder::emit_concat(const Node& node, const Concat& op) {
  const bool is_coded = values_.is_code(node.output) && std::ranges::all_of(node.inputs, [&](ValueId input) {
                          return element_of(input) == Element::code;
                        });
  const Element element = is_coded ? Element::code : Element::f32;
  const View y = make(node.output, layout_of_result(node.inputs[0], node.output), element);
  View part = y;
  for (const ValueId input : node.inputs) {
    const View x = any(input, element);
    part.extents = x.extents;
    if (numbers_of(x.extents) > 0) push(move_step(x, part), {&x, &y});
    part.offset += static_cast<std::ptrdiff_t>(x.extents[op.axis]) * y.strides[op.axis];
  }
}

bool ProgramBuilder::emit_pad(const Node& node, const Pad& op) {
  if (op.kind != Pad::Kind::constant) return false;
  const View x = any(node.inputs[0]), y = make(node.output, Layout::rows);
  push(fill_step(y.buffer, static_cast<std::size_t>(numbers_of(y.extents)), op.value), {&y});
  View inside = y;
  inside.extents = x.extents;
  for (std::size_t i = 0; i < x.extents.size(); ++i)
    inside.offset += static_cast<std::ptrdiff_t>(op.before[i]) * y.strides[i];
  push(move_step(x, inside), {&x, &y});
  return true;
}

bool ProgramBuilder::emit_function(const Node& node) {
  if (const auto* const op = std::get_if<Softmax>(&node.operation)) {
    const bool goes_along_rows = op->axis + 1 == shape(node.output).size() && !op->is_logarithm;
    if (!goes_along_rows || numbers_of(shape(node.output)) == 0) return false;
    const View x = need(node.inputs[0], Layout::rows), y = make(node.output, Layout::rows);
    push(softmax_step(x, y), {&x, &y});
    return true;
  }
  if (const auto call = point_call(node.operation)) {
    const Layout layout = layout_of_result(node.inputs[0], node.output);
    const View x = need(node.inputs[0], layout), y = make(node.output, layout);
    push(point_step(*call, x, y), {&x, &y});
    return true;
  }
  if (std::holds_alternative<Gelu>(node.operation)) {
    const Layout layout = layout_of_result(node.inputs[0], node.output);
    const View x = need(node.inputs[0], layout), y = make(node.output, layout);
    push(gelu_step(x, y), {&x, &y});
    return true;
  }
  const auto pair = pair_call(node.operation);
  if (!pair) return false;
  const Extents made = extents(node.output);
  const ValueId larger = extents(node.inputs[0]) == made ? node.inputs[0] : node.inputs[1];
  const Layout layout = layout_of_result(larger, node.output);
  const auto operand = [&](ValueId value) {
    return extents(value) == made ? need(value, layout) : repeated(any(value), made);
  };
  const View a = operand(node.inputs[0]), b = operand(node.inputs[1]), y = make(node.output, layout);
  push(pair_step(*pair, a, b, y), {&a, &b, &y});
  return true;
}

void ProgramBuilder::emit_reference(const Node& node) {
  ReferenceCall call{.operation = node.operation,
                     .shapes = net_.graph.input_shapes(node),
                     .inputs = {},
                     .output = {},
                     .weight = [net = &net_](std::string_view part) { return net->weight(part); }};
  for (const ValueId input : node.inputs) call.inputs.push_back(need(input, Layout::rows));
  call.output = make(node.output, Layout::rows);
  const View output = call.output;
  for (const View& view : call.inputs) touch(view.buffer);
  push(reference_step(std::move(call)), {&output});
}

}  // namespace nibble::net_engine
