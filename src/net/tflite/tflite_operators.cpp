// SPDX-License-Identifier: Apache-2.0
//
// Operators of TensorFlow Lite, by their public numbers.
#include <algorithm>
#include <cmath>

#include "net/tflite/tflite_pen.h"

namespace nibble {
namespace {

// Weights as they are multiplied: of nets of codes the codes less their zeros, of others the numbers that they stand
// for.
std::vector<float> weights_of(TfliteView& v, std::size_t input, bool is_exact) {
  const TfliteTensor& tensor = v.tensor(input);
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

template <Binary::Kind kind>
void arithmetic(TfliteView& v) {
  v.out_real(v.pen().binary(kind, v.real(0), v.real(1)));
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
void convert(TfliteView& v) { v.out_real(v.real(0)); }

void pad(TfliteView& v) {
  const std::vector<std::int64_t> pads = v.whole_numbers(1);
  const NetValue x = channels_last(v.pen(), v.in(0));
  if (pads.size() != 2 * x.rank()) v.damaged("pads of another number of dimensions");
  Pad op;
  for (std::size_t i = 0; i < pads.size(); ++i) {
    if (pads[i] < 0 || pads[i] > static_cast<std::int64_t>(kMostNumbers)) v.damaged("a pad that is none");
    (i % 2 == 0 ? op.before : op.behind).push_back(static_cast<std::uint64_t>(pads[i]));
  }
  op.value = v.gives_codes() && !v.result().zeros.empty() ? static_cast<float>(v.result().zeros[0]) : 0;
  v.out(channels_second(v.pen(), v.pen().apply(std::move(op), {x})));
}

void mean(TfliteView& v) {
  const NetValue x = channels_last(v.pen(), v.real(0));
  Reduce op{Reduce::Kind::mean, {}, v.options().keeps_dimensions};
  for (const std::int64_t axis : v.whole_numbers(1)) {
    const std::int64_t counted = axis < 0 ? axis + static_cast<std::int64_t>(x.rank()) : axis;
    if (counted < 0) v.damaged("a dimension that is not there");
    op.axes.push_back(static_cast<std::uint64_t>(counted));
  }
  std::ranges::sort(op.axes);
  v.out_real(channels_second(v.pen(), v.pen().apply(std::move(op), {x})));
}

constexpr TfliteConverter kConverters[] = {{0, "ADD", arithmetic<Binary::Kind::add>},
                                           {1, "AVERAGE_POOL_2D", average_pool},
                                           {2, "CONCATENATION", concatenation},
                                           {3, "CONV_2D", convolution},
                                           {4, "DEPTHWISE_CONV_2D", depthwise},
                                           {6, "DEQUANTIZE", convert},
                                           {9, "FULLY_CONNECTED", fully_connected},
                                           {14, "LOGISTIC", logistic},
                                           {17, "MAX_POOL_2D", max_pool},
                                           {18, "MUL", arithmetic<Binary::Kind::multiply>},
                                           {19, "RELU", unary<Unary::Kind::relu>},
                                           {21, "RELU6", unary<Unary::Kind::clip>},
                                           {22, "RESHAPE", reshape},
                                           {25, "SOFTMAX", softmax},
                                           {28, "TANH", unary<Unary::Kind::tanh>},
                                           {34, "PAD", pad},
                                           {40, "MEAN", mean},
                                           {41, "SUB", arithmetic<Binary::Kind::subtract>},
                                           {43, "SQUEEZE", reshape},
                                           {114, "QUANTIZE", convert},
                                           {117, "HARD_SWISH", unary<Unary::Kind::hard_swish>}};

}  // namespace

const TfliteConverter* find_tflite_converter(int code) {
  const auto* const found = std::ranges::find(kConverters, code, &TfliteConverter::code);
  return found == std::end(kConverters) ? nullptr : found;
}

}  // namespace nibble
