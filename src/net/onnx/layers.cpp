// SPDX-License-Identifier: Apache-2.0
//
// Operators with weights: convolutions, matrix products; and poolings, which go over windows like the former.
#include <algorithm>

#include "net/onnx/linear_term.h"
#include "net/onnx/node_view.h"
#include "net/onnx/window_reader.h"

namespace nibble {
namespace {

// Weights and, where there is one, bias of a node as parts of the net.
std::string store(NodeView& n, bool& has_bias, std::uint64_t outputs) {
  const std::string part = n.pen().part(n.part_name(1), n.numbers(1));
  has_bias = n.has(2);
  if (!has_bias) return part;
  if (n.in(2).extents() != Extents{outputs}) n.damaged("a bias of another number of channels");
  n.pen().put(part + ".bias", n.numbers(2));
  return part;
}

void require_weights(NodeView& n, std::size_t rank) {
  if (n.constant(1).rank() != rank || rank < 3) n.damaged("weights of another number of dimensions than the input has");
}

void convolution(NodeView& n) {
  const NetValue &x = n.in(0), &w = n.constant(1);
  require_weights(n, x.rank());
  Convolution op;
  op.outputs = w.extent(0);
  op.groups = static_cast<std::uint64_t>(n.whole("group", 1, 1));
  op.window = read_window(n, x, Extents(w.extents()).size() > 2 ? spatial(w) : Extents{});
  if (x.extent(1) % op.groups != 0 || x.extent(1) / op.groups != w.extent(1))
    n.damaged("weights for another number of channels");
  op.part = store(n, op.has_bias, op.outputs);
  n.out(n.pen().apply(std::move(op), {x}));
}

void transposed_convolution(NodeView& n) {
  const NetValue &x = n.in(0), &w = n.constant(1);
  require_weights(n, x.rank());
  TransposedConvolution op;
  op.groups = static_cast<std::uint64_t>(n.whole("group", 1, 1));
  op.outputs = w.extent(1) * op.groups;
  if (x.extent(1) != w.extent(0)) n.damaged("weights for another number of channels");
  read_transposed_window(n, x, spatial(w), op);
  op.part = store(n, op.has_bias, op.outputs);
  n.out(n.pen().apply(std::move(op), {x}));
}

template <Pooling::Kind kind>
void pooling(NodeView& n) {
  if (n.wants(1)) n.refuse("the places of the largest numbers as an output");
  if (n.whole("storage_order", 0, 0, 1) != 0) n.refuse("places counted by column");
  Pooling op{kind, read_window(n, n.in(0), {}), n.flag("ceil_mode"), n.flag("count_include_pad")};
  n.out(n.pen().apply(std::move(op), {n.in(0)}));
}

void matrix_product(NodeView& n) {
  const NetValue &a = n.in(0), &b = n.in(1);
  if (b.is_constant() && b.rank() == 2 && a.rank() >= 1 && !a.is_constant() && is_floating(b.type))
    return n.out(linear_term(n, a, b, n.part_name(1), {}));
  n.out(n.pen().apply(MatrixProduct{}, {a, b}));
}

void scaled_product(NodeView& n) {
  NetPen& pen = n.pen();
  NetValue a = n.in(0), b = n.in(1);
  if (a.rank() != 2 || b.rank() != 2) n.damaged("its inputs are not matrices");
  if (n.flag("transA")) a = pen.transpose(a, {1, 0});
  if (n.flag("transB")) b = pen.transpose(b, {1, 0});
  const float alpha = n.number("alpha", 1), beta = n.number("beta", 1);
  const auto scaled = [&](const NetValue& x, float factor) {
    return factor == 1 ? x : pen.multiply(x, pen.number(factor));
  };
  std::optional<NetValue> c;
  if (n.has(2) && beta != 0) c = scaled(n.in(2), beta);
  if (!b.is_constant() || a.is_constant()) {
    const NetValue y = scaled(pen.apply(MatrixProduct{}, {a, b}), alpha);
    return n.out(c ? pen.add(y, *c) : y);
  }
  b = scaled(b, alpha);
  const bool is_bias = c && c->is_constant() && nibble::numbers_of(c->shape) == b.extent(1) &&
                       (c->rank() == 0 || c->shape.back().extent == b.extent(1));
  const NetValue y = linear_term(n, a, b, n.part_name(1), is_bias ? std::optional(*c) : std::nullopt);
  n.out(c && !is_bias ? pen.add(y, *c) : y);
}

// Of two values, by letters: batch letters are in both and in the result, inner ones in both alone.
void einsum(NodeView& n) {
  std::string text = n.text("equation", "");
  std::erase(text, ' ');
  const std::size_t comma = text.find(','), arrow = text.find("->");
  if (n.num_inputs() != 2 || comma == std::string::npos || arrow == std::string::npos || arrow < comma ||
      text.find('.') != std::string::npos)
    n.refuse("an equation of other than two values and a result: " + text);
  const std::string a = text.substr(0, comma), b = text.substr(comma + 1, arrow - comma - 1),
                    made = text.substr(arrow + 2);
  const auto has = [](const std::string& letters, char c) { return letters.find(c) != std::string::npos; };
  const auto repeats = [](std::string letters) {
    std::ranges::sort(letters);
    return std::ranges::adjacent_find(letters) != letters.end();
  };
  if (a.size() != n.in(0).rank() || b.size() != n.in(1).rank() || repeats(a) || repeats(b) || repeats(made))
    n.refuse("an equation that repeats letters or does not fit its values: " + text);
  std::string batch, rows, inner, cols;
  for (const char c : a) (has(b, c) ? (has(made, c) ? batch : inner) : rows) += c;
  for (const char c : b)
    if (!has(a, c)) cols += c;
  for (const char c : rows + cols)
    if (!has(made, c)) n.refuse("an equation that sums one value by itself: " + text);
  if (made.size() != batch.size() + rows.size() + cols.size())
    n.damaged("a result of letters that are in no value: " + text);
  const auto ordered = [&](const NetValue& x, const std::string& letters, const std::string& wanted) {
    Extents order;
    for (const char c : wanted) order.push_back(letters.find(c));
    return n.pen().transpose(x, order);
  };
  const auto extent = [&](const std::string& letters) {
    std::uint64_t product = 1;
    for (const char c : letters) product *= has(a, c) ? n.in(0).extent(a.find(c)) : n.in(1).extent(b.find(c));
    return product;
  };
  const NetValue left =
      n.pen().reshape(ordered(n.in(0), a, batch + rows + inner), Extents{extent(batch), extent(rows), extent(inner)});
  const NetValue right =
      n.pen().reshape(ordered(n.in(1), b, batch + inner + cols), Extents{extent(batch), extent(inner), extent(cols)});
  Extents apart;
  const std::string order = batch + rows + cols;
  for (const char c : order) apart.push_back(extent(std::string(1, c)));
  const NetValue product = n.pen().reshape(n.pen().apply(MatrixProduct{}, {left, right}), apart);
  n.out(ordered(product, order, made));
}

constexpr OnnxConverter kConverters[] = {{"AveragePool", pooling<Pooling::Kind::average>},
                                         {"Conv", convolution},
                                         {"ConvTranspose", transposed_convolution},
                                         {"Einsum", einsum},
                                         {"Gemm", scaled_product},
                                         {"MatMul", matrix_product},
                                         {"MaxPool", pooling<Pooling::Kind::maximum>}};

}  // namespace

NetValue linear_term(NodeView& n, const NetValue& a, const NetValue& b, const std::string& part,
                     const std::optional<NetValue>& bias) {
  if (a.shape.back().extent != b.extent(0)) n.damaged("matrices whose sizes do not fit");
  const NetValue turned = n.pen().transpose(b, {1, 0});
  Linear op{n.pen().part(part, NetPen::numbers_of_constant(*turned.constant)), "", b.extent(1), bias.has_value()};
  if (bias) n.pen().put(op.bias(), NetPen::numbers_of_constant(*bias->constant));
  op.site = "v" + std::to_string(a.id);
  return n.pen().apply(std::move(op), {a});
}

std::span<const OnnxConverter> layer_converters() { return kConverters; }

}  // namespace nibble
