// SPDX-License-Identifier: Apache-2.0
//
// Operators of TensorFlow Lite, by their public numbers.
#include <algorithm>
#include <cmath>

#include "io/tflite/tflite_codes.h"
#include "net/tflite/tflite_pen.h"

namespace nibble {
namespace {

// Weights as they are multiplied: of nets of codes the codes less their zeros, of others the numbers that they stand
// for.
std::vector<float> weights_of(TfliteView& v, std::size_t input, bool is_exact) {
  const TfliteTensor& tensor = v.tensor(input);
  if (tensor.bytes.empty() && v.in(input).is_constant()) {  // what an operator before has made of stored ones
    if (is_exact) v.damaged("weights in floats beside codes");
    return NetPen::numbers_of_constant(*channels_last(v.pen(), v.in(input)).constant);
  }
  const NetConstant stored = v.stored(input);
  std::vector<float> numbers = NetPen::numbers_of_constant(stored);
  if (is_floating(stored.type)) {
    if (is_exact) v.damaged("weights in floats beside codes");
    return numbers;
  }
  if (tensor.scales.empty()) v.damaged("weights in codes without scales");
  const Extents extents = tensor.shape;
  const std::size_t step =
      static_cast<std::size_t>(row_major(extents).empty() ? 1 : row_major(extents)[tensor.dimension]);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t at = i / step % tensor.scales.size();
    numbers[i] -= static_cast<float>(tensor.zeros[at]);
    if (!is_exact) numbers[i] *= tensor.scales[at];
  }
  return numbers;
}

std::vector<float> bias_of(TfliteView& v, std::size_t input, std::uint64_t outputs, bool is_exact) {
  const NetConstant stored = v.stored(input);
  if (stored.extents != Extents{outputs}) v.damaged("a bias of another number of channels");
  if (is_floating(stored.type) == is_exact) v.damaged("a bias of another kind than the sums");
  if (is_exact) return {stored.integers.begin(), stored.integers.end()};
  return stored.numbers;
}

// Rows of `from`, in the order of dimensions that `order` says.
std::vector<float> reordered(NetPen& pen, std::vector<float> numbers, const Extents& extents,
                             std::vector<std::uint64_t> order) {
  return pen.transpose(pen.numbers(std::move(numbers), extents), std::move(order)).constant->numbers;
}

Window window_of(TfliteView& v, const NetValue& x, std::uint64_t filter_h, std::uint64_t filter_w) {
  const TfliteOptions& o = v.options();
  if (x.rank() != 4) v.damaged("an input that has not four dimensions");
  Window window{{filter_h, filter_w}, {o.stride_h, o.stride_w}, {o.dilation_h, o.dilation_w}, {0, 0}, {0, 0}};
  if (!o.pads) return window;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::uint64_t extent = x.extent(i + 2), places = (extent + window.strides[i] - 1) / window.strides[i];
    const std::uint64_t needed =
        places == 0 ? 0 : (places - 1) * window.strides[i] + (window.taps[i] - 1) * window.dilations[i] + 1;
    const std::uint64_t pads = needed > extent ? needed - extent : 0;
    window.before[i] = pads / 2;
    window.behind[i] = pads - pads / 2;
  }
  return window;
}

// Exact sums to codes: times the quotient of scales, along a dimension where weights have scales of their own.
void out_sums(TfliteView& v, const NetValue& sums, std::size_t weights, std::size_t channel) {
  NetPen& pen = v.pen();
  const double x_scale = static_cast<double>(v.scale_of(v.tensor(0))),
               y_scale = static_cast<double>(v.scale_of(v.result()));
  std::vector<float> factors;
  for (const float w : v.tensor(weights).scales)
    factors.push_back(static_cast<float>(x_scale * static_cast<double>(w) / y_scale));
  Extents extents;
  if (factors.size() > 1) {
    extents.assign(sums.rank() - channel, 1);
    extents[0] = factors.size();
  }
  const TfliteView::CodeRange range = v.code_range();
  v.out(pen.apply(Quantize{range.low, range.high, 0},
                  {pen.multiply(sums, pen.numbers(std::move(factors), std::move(extents))), pen.number(1),
                   pen.number(static_cast<float>(v.result().zeros[0]))}));
}

void convolve(TfliteView& v, bool is_depthwise) {
  NetPen& pen = v.pen();
  const bool is_exact = v.is_coded(0);
  if (is_exact != v.gives_codes()) v.refuse("codes on one side alone");
  const NetValue x = is_exact ? v.centred(0) : v.in(0);
  const Extents shape =
      v.tensor(1).shape;  // [outputs, height, width, channels], of depthwise [1, height, width, outputs]
  if (shape.size() != 4 || x.rank() != 4) v.damaged("an input or weights that have not four dimensions");
  Convolution op;
  op.window = window_of(v, x, shape[1], shape[2]);
  op.outputs = is_depthwise ? shape[3] : shape[0];
  op.groups = is_depthwise ? x.extent(1) : (shape[3] == 0 ? 0 : x.extent(1) / shape[3]);
  const std::uint64_t depth = is_depthwise ? 1 : shape[3];
  if (op.groups == 0 || x.extent(1) != op.groups * depth || (is_depthwise && shape[0] != 1))
    v.damaged("weights for another number of channels");
  std::vector<float> w = weights_of(v, 1, is_exact);
  const std::vector<std::uint64_t> order =
      is_depthwise ? std::vector<std::uint64_t>{3, 0, 1, 2} : std::vector<std::uint64_t>{0, 3, 1, 2};
  op.part = pen.part(v.tensor(1).name, reordered(pen, std::move(w), shape, order));
  op.has_bias = v.has(2);
  if (op.has_bias) pen.put(op.bias(), bias_of(v, 2, op.outputs, is_exact));
  const NetValue sums = pen.apply(op, {x}, NumberType::f32);
  if (is_exact) return out_sums(v, sums, 1, 1);
  v.out_real(sums);
}

void convolution(TfliteView& v) { convolve(v, false); }
void depthwise(TfliteView& v) { convolve(v, true); }

void fully_connected(TfliteView& v) {
  NetPen& pen = v.pen();
  const bool is_exact = v.is_coded(0);
  if (is_exact != v.gives_codes()) v.refuse("codes on one side alone");
  if (v.options().is_shuffled) v.refuse("weights in another order");
  NetValue x = channels_last(pen, is_exact ? v.centred(0) : v.in(0));
  const Extents shape = v.tensor(1).shape;
  if (shape.size() != 2 || shape[1] == 0) v.damaged("weights that are no matrix");
  if (!v.options().keeps_dimensions) {
    const std::uint64_t numbers = numbers_of(x.shape);
    if (numbers % shape[1] != 0) v.damaged("weights for another number of inputs");
    x = pen.reshape(x, Extents{numbers / shape[1], shape[1]});
  }
  if (x.rank() == 0 || x.shape.back().extent != shape[1]) v.damaged("weights for another number of inputs");
  Linear op{pen.part(v.tensor(1).name, weights_of(v, 1, is_exact)), "v" + std::to_string(x.id), shape[0], v.has(2)};
  if (op.has_bias) pen.put(op.bias(), bias_of(v, 2, shape[0], is_exact));
  if (x.rank() == 4) v.refuse("four dimensions that are kept");
  const NetValue sums = pen.apply(op, {x}, NumberType::f32);
  if (is_exact) return out_sums(v, sums, 1, sums.rank() - 1);
  v.out_real(sums);
}

// Dimensions are aligned at the file's last ones, which are the channels.
NetValue as_picture(NetPen& pen, const NetValue& x) {
  if (x.rank() == 0 || x.rank() >= 4) return x;
  Extents extents(4 - x.rank(), 1);
  for (const std::uint64_t extent : x.extents()) extents.push_back(extent);
  return channels_second(pen, pen.reshape(x, extents));
}

template <Binary::Kind kind>
void arithmetic(TfliteView& v) {
  const NetValue a = v.real(0), b = v.real(1);
  const bool is_picture = a.rank() == 4 || b.rank() == 4;
  v.out_real(v.pen().binary(kind, is_picture ? as_picture(v.pen(), a) : a, is_picture ? as_picture(v.pen(), b) : b));
}

// Means of codes are codes, rounded half away from 0.
void average_pool(TfliteView& v) {
  NetPen& pen = v.pen();
  const TfliteOptions& o = v.options();
  const Pooling op{Pooling::Kind::average, window_of(v, v.in(0), o.filter_h, o.filter_w)};
  NetValue means = pen.apply(op, {v.in(0)}, NumberType::f32);
  if (!v.gives_codes()) return v.out_real(means);
  const NetValue sizes =
      pen.unary(Unary::Kind::floor, pen.add(pen.unary(Unary::Kind::absolute, means), pen.number(0.5F)));
  const TfliteView::CodeRange range = v.code_range();
  const NetValue codes = pen.multiply(sizes, pen.unary(Unary::Kind::sign, means));
  v.out(pen.unary(Unary::Kind::clip, codes, static_cast<float>(range.low), static_cast<float>(range.high)));
}

void max_pool(TfliteView& v) {
  NetPen& pen = v.pen();
  const TfliteOptions& o = v.options();
  const Pooling op{Pooling::Kind::maximum, window_of(v, v.in(0), o.filter_h, o.filter_w)};
  const NetValue largest = pen.apply(op, {v.in(0)});
  if (!v.gives_codes()) return v.out_real(largest);
  const TfliteView::CodeRange range = v.code_range();
  v.out(pen.unary(Unary::Kind::clip, largest, static_cast<float>(range.low), static_cast<float>(range.high)));
}

void reshape(TfliteView& v) {
  const NetValue flat = v.pen().reshape(channels_last(v.pen(), v.in(0)), v.result().shape);
  v.out(channels_second(v.pen(), flat));
}

void softmax(TfliteView& v) {
  NetPen& pen = v.pen();
  NetValue x = channels_last(pen, v.real(0));
  if (v.options().beta != 1) x = pen.multiply(x, pen.number(v.options().beta));
  if (x.rank() == 0) v.damaged("a softmax of one number");
  v.out_real(channels_second(pen, pen.apply(Softmax{x.rank() - 1}, {x})));
}

void concatenation(TfliteView& v) {
  std::vector<NetValue> values;
  const bool is_coded = v.gives_codes();
  for (std::size_t i = 0; i < v.num_inputs(); ++i) values.push_back(is_coded ? v.real(i) : v.in(i));
  if (values.empty()) v.damaged("it has no inputs");
  const auto rank = static_cast<std::int64_t>(values[0].rank());
  const std::int64_t axis = v.options().axis < 0 ? v.options().axis + rank : v.options().axis;
  if (axis < 0 || axis >= rank) v.damaged("a dimension that is not there");
  constexpr std::uint64_t kMoved[] = {0, 2, 3, 1};
  const auto place = static_cast<std::uint64_t>(axis);
  v.out_real(v.pen().apply(Concat{rank == 4 ? kMoved[place] : place}, values));
}

template <Unary::Kind kind>
void unary(TfliteView& v) {
  v.out_real(kind == Unary::Kind::clip ? v.pen().unary(kind, v.real(0), 0, 6) : v.pen().unary(kind, v.real(0)));
}

void logistic(TfliteView& v) { v.out_real(v.pen().apply(Sigmoid{}, {v.real(0)})); }

// Codes to floats, floats to codes, codes to other codes; stored halves to floats.
void convert(TfliteView& v) {
  const TfliteTensor& x = v.tensor(0);
  if (!v.is_coded(0) || x.scales.size() < 2 || v.gives_codes()) return v.out_real(v.real(0));
  v.out(channels_second(v.pen(), v.pen().numbers(weights_of(v, 0, false), x.shape)));
}

void pad_as(TfliteView& v, Pad op, std::span<const std::int64_t> pads) {
  const NetValue x = channels_last(v.pen(), v.in(0));
  if (pads.size() != 2 * x.rank()) v.damaged("pads of another number of dimensions");
  for (std::size_t i = 0; i < pads.size(); ++i) {
    if (pads[i] < 0 || pads[i] > static_cast<std::int64_t>(kMostNumbers)) v.damaged("a pad that is none");
    (i % 2 == 0 ? op.before : op.behind).push_back(static_cast<std::uint64_t>(pads[i]));
  }
  v.out(channels_second(v.pen(), v.pen().apply(std::move(op), {x})));
}

void pad(TfliteView& v) {
  Pad op;
  op.value = v.gives_codes() && !v.result().zeros.empty() ? static_cast<float>(v.result().zeros[0]) : 0;
  pad_as(v, std::move(op), v.whole_numbers(1));
}

// The dimension that a number names, of so many.
std::uint64_t dimension_of(const TfliteView& v, std::int64_t axis, std::size_t rank) {
  const std::int64_t counted = axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis;
  if (counted < 0 || counted >= static_cast<std::int64_t>(rank)) v.damaged("a dimension that is not there");
  return static_cast<std::uint64_t>(counted);
}

template <Reduce::Kind kind>
void reduce(TfliteView& v) {
  const NetValue x = channels_last(v.pen(), v.real(0));
  Reduce op{kind, {}, v.options().keeps_dimensions};
  for (const std::int64_t axis : v.whole_numbers(1)) op.axes.push_back(dimension_of(v, axis, x.rank()));
  std::ranges::sort(op.axes);
  v.out_real(channels_second(v.pen(), v.pen().apply(std::move(op), {x})));
}

void pad_with(TfliteView& v) {
  const std::vector<std::int64_t> pads = v.whole_numbers(1);
  const NetConstant number = v.stored(2);
  if (numbers_of(std::span(number.extents)) != 1) v.damaged("pads of several numbers");
  Pad op{Pad::Kind::constant, {}, {}, NetPen::numbers_of_constant(number)[0]};
  pad_as(v, std::move(op), pads);
}

void mirror_pad(TfliteView& v) {
  if (v.options().repeats_edge) v.refuse("a mirrored pad that repeats the last number");
  pad_as(v, Pad{Pad::Kind::reflect, {}, {}, 0}, v.whole_numbers(1));
}

void transpose(TfliteView& v) {
  const NetValue x = channels_last(v.pen(), v.in(0));
  std::vector<std::uint64_t> order;
  for (const std::int64_t one : v.whole_numbers(1)) order.push_back(dimension_of(v, one, x.rank()));
  if (order.size() != x.rank()) v.damaged("an order of another number of dimensions");
  v.out(channels_second(v.pen(), v.pen().transpose(x, std::move(order))));
}

void strided_slice(TfliteView& v) {
  const NetValue x = channels_last(v.pen(), v.in(0));
  if (v.options().other_masks != 0) v.refuse("dimensions that are left out or added");
  const std::vector<std::int64_t> begin = v.whole_numbers(1), end = v.whole_numbers(2), step = v.whole_numbers(3);
  if (begin.size() != x.rank() || end.size() != x.rank() || step.size() != x.rank())
    v.damaged("places of another number of dimensions");
  StridedSlice op;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    const auto extent = static_cast<std::int64_t>(x.extent(i));
    if (step[i] < 1) v.refuse("steps backwards");
    const auto place = [&](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + extent : at, 0, extent); };
    const std::int64_t first = (v.options().begin_mask >> i & 1) != 0 ? 0 : place(begin[i]),
                       last = (v.options().end_mask >> i & 1) != 0 ? extent : place(end[i]);
    if (last <= first) v.damaged("nothing that is left");
    op.begin.push_back(static_cast<std::uint64_t>(first));
    op.count.push_back(static_cast<std::uint64_t>((last - first - 1) / step[i] + 1));
    op.step.push_back(step[i]);
  }
  v.out(channels_second(v.pen(), v.pen().apply(std::move(op), {x})));
}

void gather(TfliteView& v) {
  const NetValue x = channels_last(v.pen(), v.in(0));
  const std::uint64_t axis = dimension_of(v, v.options().axis, x.rank());
  v.out(channels_second(v.pen(), v.pen().apply(Gather{axis}, {x, channels_last(v.pen(), v.in(1))}, x.type)));
}

void broadcast_to(TfliteView& v) {
  const NetValue x = channels_last(v.pen(), v.in(0));
  v.out(channels_second(v.pen(), v.pen().apply(Expand{named(v.result().shape)}, {x})));
}

template <Resize::Kind kind>
void resize(TfliteView& v) {
  const std::vector<std::int64_t> to = v.whole_numbers(1);
  const NetValue& x = v.in(0);
  if (to.size() != 2 || x.rank() != 4) v.damaged("a value that is no picture");
  Resize op;
  op.kind = kind;
  const TfliteOptions& o = v.options();
  op.places = o.aligns_corners        ? Resize::Places::align_corners
              : o.centres_half_pixels ? Resize::Places::half_pixel
                                      : Resize::Places::asymmetric;
  // Where half pixels are counted: down from the place that is half a pixel further.
  op.rounding = o.aligns_corners || o.centres_half_pixels ? Resize::Rounding::up_at_half : Resize::Rounding::down;
  op.extents = {x.extent(0), x.extent(1)};
  op.scales = {1, 1};
  for (std::size_t i = 0; i < 2; ++i) {
    if (to[i] < 1 || to[i] > static_cast<std::int64_t>(kMostNumbers)) v.damaged("an extent that is none");
    op.extents.push_back(static_cast<std::uint64_t>(to[i]));
    op.scales.push_back(static_cast<float>(to[i]) / static_cast<float>(x.extent(i + 2)));
  }
  const NetValue y = v.pen().apply(std::move(op), {v.real(0)});
  v.out_real(y);
}

// Of two values; y as it is stored, or with its last two dimensions turned.
void matrix_product(TfliteView& v) {
  NetPen& pen = v.pen();
  const auto operand = [&](std::size_t input, bool turns) {
    const NetValue x = channels_last(pen, v.real(input));
    if (x.rank() < 2) v.damaged("an operand that is no matrix");
    std::vector<std::uint64_t> order(x.rank());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (turns) std::swap(order[order.size() - 1], order[order.size() - 2]);
    return pen.transpose(x, std::move(order));
  };
  const NetValue a = operand(0, v.options().turns_x), b = operand(1, v.options().turns_y);
  v.out_real(channels_second(pen, pen.apply(MatrixProduct{}, {a, b}, NumberType::f32)));
}

// Weights [outputs, height, width, channels]; the first input is the result's shape.
void transposed_convolution(TfliteView& v) {
  NetPen& pen = v.pen();
  const Extents shape = v.tensor(1).shape, made = v.result().shape;
  const NetValue& x = v.in(2);
  if (v.gives_codes() || v.is_coded(2)) v.refuse("codes");
  if (shape.size() != 4 || x.rank() != 4 || made.size() != 4 || shape[3] != x.extent(1))
    v.damaged("an input or weights of another number of dimensions or channels");
  TransposedConvolution op;
  op.outputs = shape[0];
  op.window = {{shape[1], shape[2]}, {v.options().stride_h, v.options().stride_w}, {1, 1}, {0, 0}, {0, 0}};
  op.further = {0, 0};
  for (std::size_t i = 0; i < 2; ++i) {
    const std::uint64_t full = (x.extent(i + 2) - 1) * op.window.strides[i] + shape[i + 1];
    if (made[i + 1] > full) op.further[i] = made[i + 1] - full;
    const std::uint64_t pads = full + op.further[i] - made[i + 1];
    op.window.before[i] = v.options().pads ? pads / 2 : 0;
    op.window.behind[i] = pads - op.window.before[i];
  }
  op.part = pen.part(v.tensor(1).name, reordered(pen, weights_of(v, 1, false), shape, {3, 0, 1, 2}));
  op.has_bias = v.has(3);
  if (op.has_bias) pen.put(op.bias(), bias_of(v, 3, op.outputs, false));
  v.out_real(pen.apply(op, {x}, NumberType::f32));
}

void leaky_relu(TfliteView& v) { v.out_real(v.pen().unary(Unary::Kind::leaky_relu, v.real(0), v.options().alpha)); }
void elu(TfliteView& v) { v.out_real(v.pen().unary(Unary::Kind::elu, v.real(0), 1)); }
void clip_at_one(TfliteView& v) { v.out_real(v.pen().unary(Unary::Kind::clip, v.real(0), -1, 1)); }
void reciprocal_root(TfliteView& v) {
  v.out_real(v.pen().unary(Unary::Kind::reciprocal, v.pen().unary(Unary::Kind::square_root, v.real(0))));
}
void gelu(TfliteView& v) {
  if (v.options().is_approximate) return v.out_real(v.pen().apply(Gelu{}, {v.real(0)}));
  v.out_real(v.pen().unary(Unary::Kind::gelu, v.real(0)));
}
// Whole numbers are held in f32 already.
void cast(TfliteView& v) {
  if (!is_floating(v.in(0).type) && !v.gives_codes()) return v.out(v.in(0));
  v.refuse("to whole numbers");
}

constexpr TfliteConverter kConverters[] = {
    {tflite_code::kAdd, "ADD", arithmetic<Binary::Kind::add>},
    {tflite_code::kAveragePool, "AVERAGE_POOL_2D", average_pool},
    {tflite_code::kConcatenation, "CONCATENATION", concatenation},
    {tflite_code::kConvolution, "CONV_2D", convolution},
    {tflite_code::kDepthwiseConvolution, "DEPTHWISE_CONV_2D", depthwise},
    {tflite_code::kDequantize, "DEQUANTIZE", convert},
    {tflite_code::kFloor, "FLOOR", unary<Unary::Kind::floor>},
    {tflite_code::kFullyConnected, "FULLY_CONNECTED", fully_connected},
    {tflite_code::kLogistic, "LOGISTIC", logistic},
    {tflite_code::kMaxPool, "MAX_POOL_2D", max_pool},
    {tflite_code::kMultiply, "MUL", arithmetic<Binary::Kind::multiply>},
    {tflite_code::kRelu, "RELU", unary<Unary::Kind::relu>},
    {tflite_code::kReluN1To1, "RELU_N1_TO_1", clip_at_one},
    {tflite_code::kRelu6, "RELU6", unary<Unary::Kind::clip>},
    {tflite_code::kReshape, "RESHAPE", reshape},
    {tflite_code::kResizeBilinear, "RESIZE_BILINEAR", resize<Resize::Kind::linear>},
    {tflite_code::kSoftmax, "SOFTMAX", softmax},
    {tflite_code::kTanh, "TANH", unary<Unary::Kind::tanh>},
    {tflite_code::kPad, "PAD", pad},
    {tflite_code::kGather, "GATHER", gather},
    {tflite_code::kTranspose, "TRANSPOSE", transpose},
    {tflite_code::kMean, "MEAN", reduce<Reduce::Kind::mean>},
    {tflite_code::kSubtract, "SUB", arithmetic<Binary::Kind::subtract>},
    {tflite_code::kDivide, "DIV", arithmetic<Binary::Kind::divide>},
    {tflite_code::kSqueeze, "SQUEEZE", reshape},
    {tflite_code::kStridedSlice, "STRIDED_SLICE", strided_slice},
    {tflite_code::kExp, "EXP", unary<Unary::Kind::exponential>},
    {tflite_code::kCast, "CAST", cast},
    {tflite_code::kPrelu, "PRELU", arithmetic<Binary::Kind::parametric_relu>},
    {tflite_code::kMaximum, "MAXIMUM", arithmetic<Binary::Kind::maximum>},
    {tflite_code::kMinimum, "MINIMUM", arithmetic<Binary::Kind::minimum>},
    {tflite_code::kNegative, "NEG", unary<Unary::Kind::negative>},
    {tflite_code::kPadV2, "PADV2", pad_with},
    {tflite_code::kSin, "SIN", unary<Unary::Kind::sine>},
    {tflite_code::kTransposeConvolution, "TRANSPOSE_CONV", transposed_convolution},
    {tflite_code::kLog, "LOG", unary<Unary::Kind::logarithm>},
    {tflite_code::kSum, "SUM", reduce<Reduce::Kind::sum>},
    {tflite_code::kSqrt, "SQRT", unary<Unary::Kind::square_root>},
    {tflite_code::kRsqrt, "RSQRT", reciprocal_root},
    {tflite_code::kPower, "POW", arithmetic<Binary::Kind::power>},
    {tflite_code::kReduceProduct, "REDUCE_PROD", reduce<Reduce::Kind::product>},
    {tflite_code::kReduceMax, "REDUCE_MAX", reduce<Reduce::Kind::maximum>},
    {tflite_code::kReduceMin, "REDUCE_MIN", reduce<Reduce::Kind::minimum>},
    {tflite_code::kResizeNearest, "RESIZE_NEAREST_NEIGHBOR", resize<Resize::Kind::nearest>},
    {tflite_code::kLeakyRelu, "LEAKY_RELU", leaky_relu},
    {tflite_code::kMirrorPad, "MIRROR_PAD", mirror_pad},
    {tflite_code::kAbs, "ABS", unary<Unary::Kind::absolute>},
    {tflite_code::kCeil, "CEIL", unary<Unary::Kind::ceiling>},
    {tflite_code::kCos, "COS", unary<Unary::Kind::cosine>},
    {tflite_code::kElu, "ELU", elu},
    {tflite_code::kQuantize, "QUANTIZE", convert},
    {tflite_code::kRound, "ROUND", unary<Unary::Kind::round>},
    {tflite_code::kHardSwish, "HARD_SWISH", unary<Unary::Kind::hard_swish>},
    {tflite_code::kBatchMatmul, "BATCH_MATMUL", matrix_product},
    {tflite_code::kBroadcastTo, "BROADCAST_TO", broadcast_to},
    {tflite_code::kGelu, "GELU", gelu},
};

}  // namespace

const TfliteConverter* find_tflite_converter(int code) {
  const auto* const found = std::ranges::find(kConverters, code, &TfliteConverter::code);
  return found == std::end(kConverters) ? nullptr : found;
}

}  // namespace nibble
