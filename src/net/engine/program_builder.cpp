// SPDX-License-Identifier: Apache-2.0
#include "net/engine/program_builder.h"

#include <algorithm>

#include "net/engine/bit_step.h"
#include "net/engine/code_steps.h"
#include "net/engine/point_steps.h"
#include "net/signs.h"
#include "nibble/error.h"

namespace nibble::net_engine {
namespace {

// Error(unsupported): pads so wide that no memory is for them.
void require_room(const Extents& extents, const Border& border) {
  std::uint64_t room = kMostNumbers;
  const ImageExtents image = ImageExtents::of(extents);
  for (const std::uint64_t factor :
       {std::uint64_t{image.images}, std::uint64_t{image.channels}, image.height + border.top + border.bottom,
        image.width + border.left + border.right})
    room /= std::max<std::uint64_t>(factor, 1);
  if (room == 0)
    throw Error(ErrorKind::unsupported,
                "a convolution has pads too wide for a net that is compiled; the reference arithmetic takes it");
}

}  // namespace

BuiltProgram build_program(const Net& net) { return ProgramBuilder(net).build(); }

ProgramBuilder::ProgramBuilder(const Net& net)
    : net_(net),
      readers_(net.graph),
      values_(net),
      fusions_(net.graph.nodes.size()),
      code_fusions_(net.graph.nodes.size()),
      absorbed_(net.graph.nodes.size()),
      of_signs_(net.graph.nodes.size()),
      borders_(net.graph.values.size()),
      code_borders_(net.graph.values.size()),
      zeros_(net.graph.values.size()),
      wants_places_(net.graph.values.size()),
      made_(net.graph.values.size()) {}

BuiltProgram ProgramBuilder::build() && {
  find_fusions();
  find_bit_products();
  find_borders();
  for (const NetPort& input : net_.inputs) {
    set(input.value, Layout::rows,
        buffer_for(rows_view(extents(input.value)), static_cast<std::size_t>(numbers_of(shape(input.value)))));
    program_.inputs.push_back(*made(input.value, Layout::rows));
  }
  for (std::size_t i = 0; i < net_.graph.nodes.size(); ++i)
    if (!absorbed_[i]) emit(net_.graph.nodes[i]);
  for (const NetPort& output : net_.outputs) program_.outputs.push_back(need(output.value, Layout::rows));
  const std::size_t end = program_.steps.size();
  for (const auto* const ports : {&program_.inputs, &program_.outputs})
    for (const View& view : *ports) {
      PlannedBuffer& plan = program_.buffers[view.buffer].plan;
      plan.last = end;
      if (ports == &program_.inputs) plan.first = 0;
    }
  return std::move(program_);
}

// From the end on, so that the longest chains are found first.
void ProgramBuilder::find_fusions() {
  for (std::size_t i = net_.graph.nodes.size(); i-- > 0;) {
    const Node& node = net_.graph.nodes[i];
    if (absorbed_[i]) continue;
    std::vector<bool> absorbed = absorbed_;
    code_fusions_[i] = code_fusion(net_, readers_, values_, node, absorbed);
    if (const auto* const product = code_fusions_[i] ? std::get_if<CodeProduct>(&*code_fusions_[i]) : nullptr) {
      // One byte stands for 0 around an image, whoever reads it.
      std::optional<std::uint8_t>& zero = zeros_[product->x];
      if (zero && *zero != product->x_zero)
        code_fusions_[i].reset();
      else
        zero = product->x_zero;
    }
    if (code_fusions_[i])
      absorbed_ = std::move(absorbed);
    else
      fusions_[i] = float_fusion(net_.graph, readers_, node, absorbed_);
  }
}

// Products of signs by weights of one size count bits, and nobody makes the signs that they alone read.
void ProgramBuilder::find_bit_products() {
  constexpr std::size_t kFewest = 64;  // weights of a row for which it pays
  const std::vector<const Node*> makers = makers_of(net_.graph);
  for (std::size_t i = 0; i < net_.graph.nodes.size(); ++i) {
    if (!fusions_[i] || fusions_[i]->added) continue;
    const Node& product = *fusions_[i]->product;
    const Node* const maker = makers[product.inputs[0]];
    if (maker == nullptr || code_fusions_[readers_.place(*maker)]) continue;
    const std::optional<ValueId> x = signs_of(net_, makers, *maker);
    const auto* const convolution = std::get_if<Convolution>(&product.operation);
    if (!x || (convolution != nullptr && convolution->groups != 1)) continue;
    const WeightUse use = net_.graph.weights(product)[0];
    const std::span<const float> weights = net_.weight(use.part);
    const auto rows = static_cast<std::size_t>(use.shape[0]);
    if (weights.size() >= kFewest * rows && bit_weights(weights, rows)) of_signs_[readers_.place(product)] = x;
  }
  const auto counts = [&](const Node& reader) { return of_signs_[readers_.place(reader)].has_value(); };
  const auto is_read_elsewhere = [&](ValueId value, const auto& is_known) {
    return net_.graph.consumers(value).empty() ||
           std::ranges::find(net_.graph.outputs, value) != net_.graph.outputs.end() ||
           !std::ranges::all_of(net_.graph.consumers(value), [&](const Node* reader) { return is_known(*reader); });
  };
  for (const Node& node : net_.graph.nodes) {
    if (!signs_of(net_, makers, node) || is_read_elsewhere(node.output, counts)) continue;
    absorbed_[readers_.place(node)] = true;
    // And what is asked for them alone, a truth as a number or not.
    const Node* reader = &node;
    for (const Node* before = makers[node.inputs[0]]; before != nullptr && !before->inputs.empty();
         before = makers[before->inputs[0]]) {
      if (is_read_elsewhere(before->output, [&](const Node& one) { return &one == reader; })) break;
      absorbed_[readers_.place(*before)] = true;
      reader = before;
      if (std::holds_alternative<Binary>(before->operation)) break;
    }
  }
}

void ProgramBuilder::find_borders() {
  const auto border_of = [&](const Node& node, const Window& w) {
    const auto beyond = [&](std::size_t i) {
      const std::uint64_t extent = shape(node.inputs[0])[i + 2].extent + w.before[i],
                          places = shape(node.output)[i + 2].extent;
      const std::uint64_t reach = (places - 1) * w.strides[i] + (w.taps[i] - 1) * w.dilations[i] + 1;
      return reach > extent ? reach - extent : 0;
    };
    const std::size_t last = w.rank() - 1;
    Border border{.top = 0, .left = w.before[last], .bottom = 0, .right = beyond(last)};
    if (last == 1) {
      border.top = w.before[0];
      border.bottom = beyond(0);
    }
    return border;
  };
  std::vector<bool> reads_codes(net_.graph.nodes.size(), false);
  for (const auto& fusion : code_fusions_) {
    const auto* const product = fusion ? std::get_if<CodeProduct>(&*fusion) : nullptr;
    const auto* const op = product == nullptr ? nullptr : std::get_if<Convolution>(&product->product->operation);
    if (op == nullptr) continue;
    code_borders_[product->x].include(border_of(*product->product, op->window));
    wants_places_[product->x] = true;
    reads_codes[readers_.place(*product->product)] = true;
  }
  for (const Node& node : net_.graph.nodes) {
    const auto* const op = std::get_if<Convolution>(&node.operation);
    if (const auto& x = of_signs_[readers_.place(node)]) {
      if (op != nullptr) wants_places_[*x] = true;
      continue;
    }
    if ((op == nullptr && !std::holds_alternative<Pooling>(node.operation)) || reads_codes[readers_.place(node)])
      continue;
    wants_places_[node.inputs[0]] = true;
    if (op != nullptr) borders_[node.inputs[0]].include(border_of(node, op->window));
  }
  // Functions pass on what is asked of their results.
  for (std::size_t i = net_.graph.nodes.size(); i-- > 0;) {
    const Node& node = net_.graph.nodes[i];
    if (!wants_places_[node.output]) continue;
    if (point_call(node.operation) || pair_call(node.operation) || std::holds_alternative<Concat>(node.operation) ||
        std::holds_alternative<Quantize>(node.operation) || std::holds_alternative<Dequantize>(node.operation))
      for (const ValueId input : node.inputs)
        if (fits_places(input) && shape(input) == shape(node.output)) wants_places_[input] = true;
  }
}

void ProgramBuilder::touch(BufferId buffer) {
  PlannedBuffer& plan = program_.buffers[buffer].plan;
  const std::size_t step = program_.steps.size();
  plan.first = std::min(plan.first, step);
  plan.last = std::max(plan.last, step);
}

void ProgramBuilder::push(StepPointer step, std::initializer_list<const View*> views) {
  for (const View* const view : views) touch(view->buffer);
  program_.steps.push_back(std::move(step));
}

View ProgramBuilder::buffer_for(View view, std::size_t numbers) {
  view.buffer = static_cast<BufferId>(program_.buffers.size());
  BuiltBuffer buffer;
  buffer.plan.bytes = numbers * bytes_of(view.element) + (view.element == Element::code ? kCodeSlack : 0);
  buffer.plan.first = buffer.plan.last = program_.steps.size();
  program_.buffers.push_back(buffer);
  return view;
}

void ProgramBuilder::set(ValueId value, Layout layout, const View& view) {
  Places& places = made_[value];
  (view.element == Element::f32 ? places.floats : places.codes)[static_cast<std::size_t>(layout)] = view;
}

View ProgramBuilder::make(ValueId value, Layout layout, Element element) {
  const Border& border = element == Element::f32 ? borders_[value] : code_borders_[value];
  std::size_t numbers = static_cast<std::size_t>(numbers_of(shape(value)));
  if (layout == Layout::places) require_room(extents(value), border);
  View view = layout == Layout::rows ? rows_view(extents(value)) : places_view(extents(value), border, numbers);
  view.element = element;
  view = buffer_for(view, numbers);
  if (layout == Layout::places && !border.is_none())
    push(border_step(view, border, element == Element::f32 ? 0 : zeros_[value].value_or(0)), {&view});
  set(value, layout, view);
  return view;
}

Element ProgramBuilder::element_of(ValueId value) const {
  const bool is_given = readers_.maker(value) == nullptr;
  return has_codes(value) || (is_given && values_.is_code(value)) ? Element::code : Element::f32;
}

// What a Dequantize gives is made when someone asks for it; codes and what they stand for become each other.
View ProgramBuilder::any(ValueId value, Element element) {
  for (const Layout layout : {Layout::places, Layout::rows})
    if (has(value, layout, element)) return *made(value, layout, element);
  const Node* const maker = readers_.maker(value);
  if (element == Element::f32 && !has_codes(value) && maker != nullptr && emit_dequantize(*maker)) return any(value);
  const Element other = element == Element::f32 ? Element::code : Element::f32;
  const Layout layout = has(value, Layout::places, other) ? Layout::places : Layout::rows;
  const View x = *made(value, layout, other), y = make(value, layout, element);
  const CodeGrid itself{1, values_.shift(value)};
  if (element == Element::f32)
    push(widen_step(itself, x, y), {&x, &y});
  else
    push(narrow_step(itself, -itself.zero, 255 - itself.zero, x, y), {&x, &y});
  return y;
}

View ProgramBuilder::need(ValueId value, Layout layout, Element element) {
  if (has(value, layout, element)) return *made(value, layout, element);
  const View there = any(value, element);
  if (has(value, layout, element)) return *made(value, layout, element);
  // One place, or one channel: both layouts are the same.
  const ImageExtents image = fits_places(value) ? ImageExtents::of(extents(value)) : ImageExtents{};
  const Border& border = element == Element::f32 ? borders_[value] : code_borders_[value];
  if (fits_places(value) && border.is_none() && (image.channels == 1 || image.height * image.width == 1)) {
    std::size_t numbers = 0;
    View same = layout == Layout::rows ? rows_view(extents(value)) : places_view(extents(value), {}, numbers);
    same.buffer = there.buffer;
    same.offset = there.offset;
    same.element = element;
    set(value, layout, same);
    return same;
  }
  const View moved = make(value, layout, element);
  push(move_step(there, moved), {&there, &moved});
  return moved;
}

Layout ProgramBuilder::layout_of_result(ValueId input, ValueId output) const {
  if (!fits_places(output)) return Layout::rows;
  return wants_places(output) || (!has(input, Layout::rows) && has(input, Layout::places)) ? Layout::places
                                                                                           : Layout::rows;
}

}  // namespace nibble::net_engine
