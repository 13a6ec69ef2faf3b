// SPDX-License-Identifier: Apache-2.0
//
// Operators of quantized nets. What works on codes directly is drawn as what it means: codes less their zero are
// multiplied exactly, and the sums, as f32, are scaled and rounded as runtimes do it.
#include <algorithm>

#include "net/onnx/node_view.h"
#include "net/onnx/window_reader.h"

namespace nibble {
namespace {

// Scales or zeros along a dimension of x: one, one for each place, or one for each block of places.
NetValue along(NodeView& n, const NetValue& numbers, const NetValue& x, std::uint64_t axis) {
  const std::int64_t block = n.whole("block_size", 0);
  NetPen& pen = n.pen();
  if (block == 0) {
    if (nibble::numbers_of(numbers.shape) == 1) return pen.reshape(numbers, Extents{});
    if (numbers.rank() != 1) n.damaged("scales of more than one dimension without blocks");
    return numbers;
  }
  if (numbers.rank() != x.rank()) n.damaged("scales of blocks of another number of dimensions");
  const auto length = static_cast<std::uint64_t>(block);
  Extents split = numbers.extents(), spread = split, joined = split;
  if (split[axis] * length < x.extent(axis)) n.damaged("scales of blocks that do not reach the end");
  split.insert(split.begin() + static_cast<std::ptrdiff_t>(axis) + 1, 1);
  spread.insert(spread.begin() + static_cast<std::ptrdiff_t>(axis) + 1, length);
  joined[axis] *= length;
  const NetValue wide = pen.reshape(pen.apply(Expand{named(spread)}, {pen.reshape(numbers, split)}), joined);
  return pen.slice(wide, axis, 0, x.extent(axis));
}

std::uint64_t scale_axis(NodeView& n, const NetValue& x, const NetValue& scale) {
  const bool is_single = nibble::numbers_of(scale.shape) == 1 && n.whole("block_size", 0) == 0;
  return is_single || x.rank() == 0 ? 0 : n.axis("axis", 1, x.rank());
}

void quantize(NodeView& n) {
  NetPen& pen = n.pen();
  const NetValue &x = n.in(0), &scale = n.in(1);
  NumberType type = n.has(2) ? n.in(2).type : NumberType::u8;
  if (const std::int64_t said = n.whole("output_dtype", 0); said != 0 && !n.has(2))
    type = number_type_of(static_cast<OnnxType>(said), n.node().op);
  const WholeRange range = whole_range(type);
  if (is_floating(type) || range.high > 65535) n.refuse("codes of this type");
  const std::uint64_t axis = scale_axis(n, x, scale);
  const NetValue zero = n.has(2) ? n.in(2) : pen.apply(Binary{Binary::Kind::multiply}, {scale, pen.number(0)});
  const Quantize op{static_cast<std::int32_t>(range.low), static_cast<std::int32_t>(range.high), axis};
  if (n.whole("block_size", 0) == 0)
    return n.out(pen.apply(op, {x, along(n, scale, x, axis), along(n, zero, x, axis)}, type));
  // Of blocks, number by number.
  const NetValue codes =
      pen.add(pen.unary(Unary::Kind::round, pen.binary(Binary::Kind::divide, x, along(n, scale, x, axis))),
              along(n, zero, x, axis));
  n.out(pen.apply(Unary{Unary::Kind::clip, static_cast<float>(range.low), static_cast<float>(range.high)}, {codes},
                  type));
}

NetValue dequantized(NetPen& pen, const NetValue& x, const NetValue& scale, const NetValue& zero, std::uint64_t axis) {
  return pen.apply(Dequantize{axis}, {x, scale, zero}, NumberType::f32);
}

// Whole numbers of 32 bits, of biases, are rounded to f32 before they are scaled, as runtimes do it.
NetValue in_f32(NetPen& pen, const NetValue& x) {
  if (!x.is_constant() || x.type != NumberType::i32) return x;
  const std::vector<std::int64_t>& codes = x.constant->integers;
  return pen.numbers({codes.begin(), codes.end()}, x.extents());
}

void dequantize(NodeView& n) {
  NetPen& pen = n.pen();
  const NetValue x = in_f32(pen, n.in(0));
  const NetValue& scale = n.in(1);
  const std::uint64_t axis = scale_axis(n, x, scale);
  const NetValue zero = n.has(2) ? n.in(2) : pen.multiply(scale, pen.number(0));
  if (n.whole("block_size", 0) == 0)
    return n.out(dequantized(pen, x, along(n, scale, x, axis), along(n, zero, x, axis), axis));
  const NetValue shifted = pen.apply(Binary{Binary::Kind::subtract}, {x, along(n, zero, x, axis)}, NumberType::f32);
  n.out(pen.multiply(shifted, along(n, scale, x, axis)));
}

void dynamic_quantize(NodeView& n) {
  NetPen& pen = n.pen();
  const NetValue range = pen.apply(DynamicRange{}, {n.in(0)});
  const NetValue scale = pen.reshape(pen.slice(range, 0, 0, 1), Extents{});
  const NetValue zero = pen.reshape(pen.slice(range, 0, 1, 1), Extents{});
  n.out(pen.apply(Quantize{0, 255, 0}, {n.in(0), scale, zero}, NumberType::u8), 0);
  n.out(scale, 1);
  n.out(zero, 2);
  n.output(2)->type = NumberType::u8;
}

// Codes less their zero. axis: of a value with a zero for each place along it.
NetValue centred(NodeView& n, std::size_t codes, std::size_t zero, std::uint64_t axis) {
  NetPen& pen = n.pen();
  const NetValue& x = n.in(codes);
  const NetValue none = pen.number(0), one = pen.number(1);
  if (!n.has(zero)) return dequantized(pen, x, one, none, 0);
  const NetValue& z = n.in(zero);
  const std::uint64_t count = nibble::numbers_of(z.shape);
  const NetValue flat = pen.reshape(z, count == 1 ? Extents{} : Extents{count});
  if (count == 1) return dequantized(pen, x, one, flat, 0);
  return dequantized(pen, x, pen.numbers(std::vector<float>(count, 1), {count}), flat, axis);
}

// Exact sums of products of codes less their zeros, as f32.
NetValue code_convolution(NodeView& n, const NetValue& x, const NetValue& w, std::size_t w_input,
                          const std::optional<NetValue>& bias) {
  if (!w.is_constant()) n.refuse("weights that are known only when the net runs");
  if (w.rank() != x.rank() || w.rank() < 3) n.damaged("weights of another number of dimensions than the input has");
  Convolution op;
  op.outputs = w.extent(0);
  op.groups = static_cast<std::uint64_t>(n.whole("group", 1, 1));
  op.window = read_window(n, x, spatial(w));
  if (x.extent(1) % op.groups != 0 || x.extent(1) / op.groups != w.extent(1))
    n.damaged("weights for another number of channels");
  op.part = n.pen().part(n.part_name(w_input), NetPen::numbers_of_constant(*w.constant));
  op.has_bias = bias.has_value();
  if (bias) {
    if (bias->extents() != Extents{op.outputs} || !bias->is_constant())
      n.damaged("a bias of another number of channels");
    // Whole numbers of 32 bits, which sums are as well: as f32.
    n.pen().put(op.bias(), {bias->constant->integers.begin(), bias->constant->integers.end()});
  }
  return n.pen().apply(std::move(op), {x}, NumberType::f32);
}

// Sums times the quotient of scales, along a dimension where weights have scales of their own, and rounded to codes.
NetValue requantized(NodeView& n, const NetValue& sums, std::size_t x_scale, std::size_t w_scale, std::size_t y_scale,
                     std::size_t y_zero, std::uint64_t axis) {
  NetPen& pen = n.pen();
  NetValue factor = pen.binary(Binary::Kind::divide, pen.multiply(n.in(x_scale), n.in(w_scale)), n.in(y_scale));
  const std::uint64_t count = nibble::numbers_of(factor.shape);
  Extents extents;
  if (count > 1) {
    extents.assign(sums.rank() - axis, 1);
    extents[0] = count;
  }
  factor = pen.reshape(factor, extents);
  const NumberType type = n.has(y_zero) ? n.in(y_zero).type : NumberType::u8;
  const WholeRange range = whole_range(type);
  const NetValue zero = n.has(y_zero) ? pen.reshape(n.in(y_zero), Extents{}) : pen.number(0);
  return pen.apply(Quantize{static_cast<std::int32_t>(range.low), static_cast<std::int32_t>(range.high), 0},
                   {pen.multiply(sums, factor), pen.number(1), zero}, type);
}

void quantized_convolution(NodeView& n) {
  const NetValue x = centred(n, 0, 2, 1), w = centred(n, 3, 5, 0);
  const NetValue sums = code_convolution(n, x, w, 3, n.has(8) ? std::optional(n.constant(8)) : std::nullopt);
  n.out(requantized(n, sums, 1, 4, 6, 7, 1));
}

void integer_convolution(NodeView& n) {
  const NetValue x = centred(n, 0, 2, 1), w = centred(n, 1, 3, 0);
  n.out(code_convolution(n, x, w, 1, std::nullopt));
  n.output(0)->type = NumberType::i32;
}

void integer_product(NodeView& n) {
  const NetValue &a = n.in(0), &b = n.in(1);
  const NetValue x = centred(n, 0, 2, a.rank() < 2 ? 0 : a.rank() - 2),
                 w = centred(n, 1, 3, b.rank() < 1 ? 0 : b.rank() - 1);
  n.out(n.pen().apply(MatrixProduct{}, {x, w}, NumberType::i32));
}

void quantized_product(NodeView& n) {
  const NetValue &a = n.in(0), &b = n.in(3);
  if (nibble::numbers_of(n.in(1).shape) != 1 || nibble::numbers_of(n.in(6).shape) != 1) n.refuse("scales of rows");
  const NetValue x = centred(n, 0, 2, a.rank() < 2 ? 0 : a.rank() - 2),
                 w = centred(n, 3, 5, b.rank() < 1 ? 0 : b.rank() - 1);
  const NetValue sums = n.pen().apply(MatrixProduct{}, {x, w}, NumberType::f32);
  if (sums.rank() == 0) n.refuse("a product of two vectors");
  n.out(requantized(n, sums, 1, 4, 6, 7, sums.rank() - 1));
}

constexpr OnnxConverter kConverters[] = {{"ConvInteger", integer_convolution},
                                         {"DequantizeLinear", dequantize},
                                         {"DynamicQuantizeLinear", dynamic_quantize},
                                         {"MatMulInteger", integer_product},
                                         {"QLinearConv", quantized_convolution},
                                         {"QLinearMatMul", quantized_product},
                                         {"QuantizeLinear", quantize}};

}  // namespace

std::span<const OnnxConverter> quantized_converters() { return kConverters; }

}  // namespace nibble
