// SPDX-License-Identifier: Apache-2.0
//
// Steps of what is computed in codes.
#include "net/engine/code_steps.h"
#include "net/engine/point_steps.h"
#include "net/engine/program_builder.h"

namespace nibble::net_engine {

void ProgramBuilder::emit_codes(const Node& end, const CodeFusion& fusion) {
  if (const auto* const product = std::get_if<CodeProduct>(&fusion)) return emit_code_product(end, *product);
  if (const auto* const sum = std::get_if<CodeSum>(&fusion)) {
    const bool lies_in_places =
        fits_places(end.output) && (wants_places(end.output) || has(sum->a, Layout::places, Element::code));
    const Layout layout = lies_in_places ? Layout::places : Layout::rows;
    const View a = need(sum->a, layout, Element::code), b = need(sum->b, layout, Element::code),
               y = make(end.output, layout, Element::code);
    return push(code_sum_step(*sum, a, b, y), {&a, &b, &y});
  }
  const auto& table = std::get<CodeTable>(fusion);
  const View x = any(table.x, Element::code);
  const Layout layout = has(table.x, Layout::places, Element::code) ? Layout::places : Layout::rows;
  const View y = make(end.output, layout, Element::code);
  push(code_table_step(table, x, y), {&x, &y});
}

void ProgramBuilder::emit_code_product(const Node& end, const CodeProduct& product) {
  const auto* const op = std::get_if<Convolution>(&product.product->operation);
  const Layout layout = op != nullptr ? Layout::places : Layout::rows;
  ConvolutionViews views;
  views.x = need(product.x, layout, Element::code);
  views.y = make(end.output, layout, Element::code);
  const View x = views.x, y = views.y;
  ProductShape shape_of_product{.is_linear = op == nullptr};
  if (op != nullptr) {
    shape_of_product.groups = static_cast<std::size_t>(op->groups);
    shape_of_product.inputs = static_cast<std::size_t>(shape(product.x)[1].extent);
    shape_of_product.outputs = static_cast<std::size_t>(op->outputs);
    shape_of_product.window = op->window.plane(shape(product.x));
    if (x.strides.size() == 4) views.x.offset -= shape_of_product.window.top * x.strides[2];
    views.x.offset -= shape_of_product.window.left * x.strides.back();
  } else {
    shape_of_product.inputs = static_cast<std::size_t>(width_of(shape(product.x)));
    shape_of_product.outputs = static_cast<std::size_t>(width_of(shape(end.output)));
  }
  push(code_convolution(shape_of_product, views, product), {&x, &y});
}

bool ProgramBuilder::emit_quantize(const Node& node) {
  const auto grid = grid_of(net_, readers_, node);
  if (!grid || !values_.is_code(node.output)) return false;
  const auto& op = std::get<Quantize>(node.operation);
  const Layout layout = layout_of_result(node.inputs[0], node.output);
  const View x = need(node.inputs[0], layout), y = make(node.output, layout, Element::code);
  push(narrow_step({grid->scale, grid->zero + values_.shift(node.output)}, static_cast<float>(op.low) - grid->zero,
                   static_cast<float>(op.high) - grid->zero, x, y),
       {&x, &y});
  return true;
}

bool ProgramBuilder::emit_dequantize(const Node& node) {
  if (!std::holds_alternative<Dequantize>(node.operation)) return false;
  const auto grid = grid_of(net_, readers_, node);
  const ValueId codes = node.inputs[0];
  if (!grid || !values_.is_code(codes)) return false;
  const View x = any(codes, Element::code);
  const bool lies_in_places = has(codes, Layout::places, Element::code);
  const View y = make(node.output, lies_in_places ? Layout::places : Layout::rows);
  push(widen_step({grid->scale, grid->zero + values_.shift(codes)}, x, y), {&x, &y});
  return true;
}

// The largest of codes, where no window sees pads alone.
bool ProgramBuilder::emit_code_pooling(const Node& node, const Pooling& op) {
  const ValueId input = node.inputs[0];
  if (op.kind != Pooling::Kind::maximum || element_of(input) != Element::code || !values_.is_code(node.output))
    return false;
  const View x = need(input, Layout::places, Element::code), y = make(node.output, Layout::places, Element::code);
  push(pool_step(op, shape(input), x, y), {&x, &y});
  return true;
}

}  // namespace nibble::net_engine
