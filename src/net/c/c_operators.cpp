// SPDX-License-Identifier: Apache-2.0
//
// What each operator is in C.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/extents.h"
#include "io/tflite/tflite_codes.h"
#include "net/c/c_writer.h"
#include "net/net.h"
#include "net/tflite/tflite_pen.h"

namespace nibble {
namespace {

using Steps = std::vector<std::int64_t>;

// A factor in single precision: mantissa * 2^exponent, the mantissa of 24 bits.
struct Factor {
  std::int64_t mantissa = 0, exponent = 0;
  explicit Factor(float number) {
    int power = 0;
    mantissa = static_cast<std::int64_t>(std::ldexp(std::frexp(static_cast<double>(number), &power), 24));
    exponent = power - 24;
  }
};

}  // namespace

std::string operator_name(const TfliteOperator& op) {
  const TfliteConverter* const known = find_tflite_converter(op.code);
  return known == nullptr ? fmt::format("operator {}", op.code) : std::string(known->name);
}

// By the same rule as what reads the file (tflite_pen).
CWriter::Range CWriter::codes_of_activation(const TfliteOperator& op) const {
  const TfliteTensor& y = out(op);
  const auto code = [&](double number) {
    const double at = std::nearbyint(number / static_cast<double>(y.scales[0])) + static_cast<double>(y.zeros[0]);
    return static_cast<std::int32_t>(std::clamp(at, -128.0, 127.0));
  };
  switch (op.options.activation) {
    case TfliteActivation::relu:
      return {code(0), 127};
    case TfliteActivation::relu6:
      return {code(0), code(6)};
    case TfliteActivation::relu_n1_to_1:
      return {code(-1), code(1)};
    case TfliteActivation::tanh:
      refuse("a fused tanh");
    case TfliteActivation::none:
      break;
  }
  return {-128, 127};
}

std::string CWriter::limits_of_activation(const TfliteOperator& op) const {
  switch (op.options.activation) {
    case TfliteActivation::relu:
      return "0.0f, 3.402823466e38f";
    case TfliteActivation::relu6:
      return "0.0f, 6.0f";
    case TfliteActivation::relu_n1_to_1:
      return "-1.0f, 1.0f";
    case TfliteActivation::tanh:
      refuse("a fused tanh");
    case TfliteActivation::none:
      break;
  }
  return "-3.402823466e38f, 3.402823466e38f";
}

// A constant of its own, as an expression.
std::string CWriter::window(const TfliteOperator& op, std::int64_t tap_rows, std::int64_t tap_cols, std::int64_t groups,
                            std::int64_t depth) {
  const TfliteTensor &x = in(op, 0), &y = out(op);
  const TfliteOptions& o = op.options;
  const bool is_matrix = op.code == tflite_code::kFullyConnected;
  if (!is_matrix && (x.shape.size() != 4 || y.shape.size() != 4)) refuse("windows over other than four dimensions");
  if (is_code(op.inputs[0]) != is_code(op.outputs[0])) refuse("codes on one side alone");
  const auto extent = [&](const TfliteTensor& tensor, std::size_t i) {
    return is_matrix ? 1 : static_cast<std::int64_t>(tensor.shape[i]);
  };
  const auto pad = [&](std::size_t i, std::int64_t taps, std::uint64_t stride, std::uint64_t dilation) {
    if (!o.pads || is_matrix) return std::int64_t{0};
    const std::int64_t end =
        (extent(y, i) - 1) * static_cast<std::int64_t>(stride) + (taps - 1) * static_cast<std::int64_t>(dilation) + 1;
    return std::max<std::int64_t>(0, end - extent(x, i)) / 2;
  };
  const std::int64_t channels = is_matrix ? depth : static_cast<std::int64_t>(x.shape.back());
  const std::int64_t batch = is_matrix ? static_cast<std::int64_t>(count_of(x)) / std::max<std::int64_t>(1, depth)
                                       : static_cast<std::int64_t>(x.shape[0]);
  const bool is_coded = is_code(op.outputs[0]);
  const Range codes = is_coded ? codes_of_activation(op) : Range{0, 0};
  const Steps numbers = {batch,
                         extent(x, 1),
                         extent(x, 2),
                         channels,
                         extent(y, 1),
                         extent(y, 2),
                         static_cast<std::int64_t>(y.shape.back()),
                         groups,
                         depth,
                         tap_rows,
                         tap_cols,
                         static_cast<std::int64_t>(o.stride_h),
                         static_cast<std::int64_t>(o.stride_w),
                         static_cast<std::int64_t>(o.dilation_h),
                         static_cast<std::int64_t>(o.dilation_w),
                         pad(1, tap_rows, o.stride_h, o.dilation_h),
                         pad(2, tap_cols, o.stride_w, o.dilation_w),
                         is_coded ? x.zeros[0] : 0,
                         is_coded ? y.zeros[0] : 0,
                         codes.low,
                         codes.high};
  const std::string name = fmt::format("window_{}", op.outputs[0]);
  constant_bytes_ += numbers.size() * sizeof(std::int32_t);
  constants_ += fmt::format("static const struct window {} = {{{}}};\n\n", name, fmt::join(numbers, ", "));
  return "&" + name;
}

std::string CWriter::grid(int index) {
  const TfliteTensor& one = tensor(index);
  const Factor scale(one.scales[0]);
  const std::string key = fmt::format("grid {}, {}, {}", scale.mantissa, scale.exponent, one.zeros[0]);
  if (const auto known = arrays_.find(key); known != arrays_.end()) return "&" + known->second;
  const std::string name = fmt::format("grid_{}", arrays_.size());
  constant_bytes_ += 3 * sizeof(std::int32_t);
  constants_ += fmt::format("static const struct grid {} = {{{}u, {}, {}}};\n\n", name, scale.mantissa, scale.exponent,
                            one.zeros[0]);
  arrays_[key] = name;
  return "&" + name;
}

void CWriter::write_convolution(const TfliteOperator& op) {
  const TfliteTensor &x = in(op, 0), &w = in(op, 1), &y = out(op);
  const bool is_matrix = op.code == tflite_code::kFullyConnected,
             is_depthwise = op.code == tflite_code::kDepthwiseConvolution, is_coded = is_code(op.inputs[0]);
  const bool is_stored_alike = w.shape.size() == (is_matrix ? 2 : 4) && (w.type == TfliteType::f32) == !is_coded;
  const std::size_t along = is_depthwise ? 3 : 0;
  if (!is_stored_alike || w.shape[along] != y.shape.back() || count_of(w) == 0) refuse("weights of another kind");
  if (is_coded && (w.type != TfliteType::i8 || w.scales.empty() || (w.scales.size() > 1 && w.dimension != along)))
    refuse("weights that are no codes of 8 bits and a sign, with a scale for each output");
  const auto outputs = static_cast<std::int64_t>(y.shape.back());
  const std::int64_t tap_rows = is_matrix ? 1 : static_cast<std::int64_t>(w.shape[1]),
                     tap_cols = is_matrix ? 1 : static_cast<std::int64_t>(w.shape[2]),
                     depth = is_depthwise ? 1 : static_cast<std::int64_t>(w.shape.back()),
                     groups =
                         is_matrix ? 1 : static_cast<std::int64_t>(x.shape.back()) / std::max<std::int64_t>(1, depth);
  const std::string over = window(op, tap_rows, tap_cols, groups, depth);
  const bool has_bias = op.inputs.size() > 2 && op.inputs[2] >= 0;
  // Of channels by themselves weights [1, rows, cols, outputs] become [outputs, rows, cols].
  const auto place = [&](std::int64_t i) {
    return is_depthwise ? i % (tap_rows * tap_cols) * outputs + i / (tap_rows * tap_cols) : i;
  };
  const std::int64_t count = outputs * tap_rows * tap_cols * depth;
  if (!is_coded) {
    std::vector<float> ordered;
    std::vector<float> stored(static_cast<std::size_t>(count));
    if (is_constant(op.inputs[1])) {
      if (w.bytes.size() != stored.size() * sizeof stored[0]) refuse("weights of another kind");
      std::memcpy(stored.data(), w.bytes.data(), w.bytes.size());
    } else {  // dequantized ones
      const TfliteOperator* const maker = makers_[static_cast<std::size_t>(op.inputs[1])];
      if (maker == nullptr || !is_stored_dequantize(*maker)) refuse("weights that an operator makes");
      stored = stored_floats(in(*maker, 0));
    }
    for (std::int64_t i = 0; i < count; ++i) ordered.push_back(stored[static_cast<std::size_t>(place(i))]);
    if (has_bias && (in(op, 2).type != TfliteType::f32 || count_of(in(op, 2)) != y.shape.back()))
      refuse("biases of another kind");
    const std::string bias =
        has_bias ? pointer(op.inputs[2]) : array(std::vector<float>(static_cast<std::size_t>(outputs), 0), "zeros");
    return call("convolve_floats",
                fmt::format("{}, {}, {}, {}, {}, {}", over, limits_of_activation(op), pointer(op.inputs[0]),
                            array(ordered, w.name), bias, pointer(op.outputs[0])));
  }
  if (w.bytes.size() != static_cast<std::size_t>(count)) refuse("weights that an operator makes");
  Steps codes, biases(static_cast<std::size_t>(outputs), 0), factors, exponents;
  for (std::int64_t i = 0; i < count; ++i)
    codes.push_back(static_cast<std::int8_t>(w.bytes[static_cast<std::size_t>(place(i))]));
  if (has_bias) {
    std::vector<std::int32_t> stored(static_cast<std::size_t>(outputs));
    if (in(op, 2).type != TfliteType::i32 || in(op, 2).bytes.size() != stored.size() * sizeof stored[0])
      refuse("biases of another kind");
    std::memcpy(stored.data(), in(op, 2).bytes.data(), in(op, 2).bytes.size());
    biases.assign(stored.begin(), stored.end());
  }
  const std::int64_t furthest = std::max(x.zeros[0] + 128, 127 - x.zeros[0]);
  for (std::int64_t i = 0; i < outputs; ++i) {
    std::int64_t most = std::abs(biases[static_cast<std::size_t>(i)]);
    for (std::int64_t k = 0; k < count / outputs; ++k)
      most += std::abs(codes[static_cast<std::size_t>(i * (count / outputs) + k)]) * furthest;
    if (most > INT32_MAX) refuse("sums that 32 bits may not hold");
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(outputs); ++i) {
    const float scale = w.scales[w.scales.size() == 1 ? 0 : i];
    if (!(scale >= 0) || !std::isfinite(scale)) refuse("weights on a scale that is none");
    const Factor factor(static_cast<float>(static_cast<double>(x.scales[0]) * static_cast<double>(scale) /
                                           static_cast<double>(y.scales[0])));
    factors.push_back(factor.mantissa);
    exponents.push_back(factor.exponent);
  }
  if (std::ranges::any_of(w.zeros, [](std::int64_t zero) { return zero != 0; })) refuse("weights with zero points");
  if (std::ranges::any_of(exponents, [](std::int64_t e) { return e < -120 || e > 120; })) refuse("scales so far apart");
  const std::string by = array("int8_t", codes, w.name);
  const std::string bias = array("int32_t", biases, has_bias ? in(op, 2).name : "zeros");
  const std::string scales = array("uint32_t", factors, y.name + ": factors of sums"),
                    powers = array("int8_t", exponents, y.name + ": their powers of 2");
  call("convolve", fmt::format("{}, {}, {}, {}, {}, {}, {}", over, pointer(op.inputs[0]), by, bias, scales, powers,
                               pointer(op.outputs[0])));
}

void CWriter::write_pooling(const TfliteOperator& op) {
  const TfliteOptions& o = op.options;
  const std::string over =
      window(op, static_cast<std::int64_t>(o.filter_h), static_cast<std::int64_t>(o.filter_w), 1, 1);
  const int is_mean = op.code == tflite_code::kAveragePool ? 1 : 0;
  if (is_code(op.inputs[0]))
    return call("pool", fmt::format("{}, {}, {}, {}", over, is_mean, pointer(op.inputs[0]), pointer(op.outputs[0])));
  call("pool_floats", fmt::format("{}, {}, {}, {}, {}", over, is_mean, limits_of_activation(op), pointer(op.inputs[0]),
                                  pointer(op.outputs[0])));
}

// Of one that is repeated the last dimensions are the other's, and those before have one place.
std::string CWriter::place_in(const TfliteTensor& one, const TfliteTensor& made) const {
  const std::uint64_t own = count_of(one);
  if (own == count_of(made)) return "i";
  if (own == 1) return "0";
  std::vector<std::uint64_t> kept = one.shape;
  while (!kept.empty() && kept.front() == 1) kept.erase(kept.begin());
  if (kept.size() > made.shape.size() || !std::equal(kept.rbegin(), kept.rend(), made.shape.rbegin()))
    refuse("numbers that are repeated along inner dimensions");
  return fmt::format("i % {}", own);
}

void CWriter::write_pair(const TfliteOperator& op) {
  using namespace tflite_code;
  const TfliteTensor &a = in(op, 0), &b = in(op, 1);
  const std::uint64_t count = count_of(out(op));
  const std::string place_a = place_in(a, out(op)), place_b = place_in(b, out(op));
  if (is_code(op.outputs[0])) {
    if (op.code != kAdd && op.code != kMultiply) refuse("this function of two codes");
    const Range codes = codes_of_activation(op);
    return call(op.code == kAdd ? "add" : "multiply",
                fmt::format("{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}", pointer(op.inputs[0]), count_of(a),
                            grid(op.inputs[0]), pointer(op.inputs[1]), count_of(b), grid(op.inputs[1]), count,
                            grid(op.outputs[0]), codes.low, codes.high, pointer(op.outputs[0])));
  }
  const std::string x = fmt::format("a[{}]", place_a), z = fmt::format("b[{}]", place_b);
  const std::string made = op.code == kAdd        ? x + " + " + z
                           : op.code == kSubtract ? x + " - " + z
                           : op.code == kMultiply ? x + " * " + z
                           : op.code == kDivide   ? x + " / " + z
                           : op.code == kMaximum  ? fmt::format("{0} > {1} ? {0} : {1}", x, z)
                                                  : fmt::format("{0} < {1} ? {0} : {1}", x, z);
  const std::string limits = limits_of_activation(op);
  const std::string low = limits.substr(0, limits.find(',')), high = limits.substr(limits.find(',') + 2);
  body_ += fmt::format(
      "  {{\n    const float *a = {}, *b = {};\n    float *y = {};\n    size_t i;\n    for (i = 0; i < {}; ++i) {{\n"
      "      const float made = {};\n      y[i] = made < {} ? {} : made > {} ? {} : made;\n    }}\n  }}\n",
      pointer(op.inputs[0]), pointer(op.inputs[1]), pointer(op.outputs[0]), count, made, low, low, high, high);
}

// Of one number: of codes a table of all of them, by the arithmetic that the engine has.
std::string CWriter::table_of(const TfliteOperator& op) {
  using namespace tflite_code;
  const TfliteTensor &x = in(op, 0), &y = out(op);
  std::vector<float> numbers;
  for (int code = -128; code < 128; ++code) numbers.push_back(static_cast<float>(code));
  const Dimensions all = named(Extents{256});
  const auto apply = [&](const Operation& operation, std::vector<float> settings) {
    std::vector<Dimensions> shapes = {all};
    std::vector<std::span<const float>> inputs = {numbers};
    for (float& one : settings) {
      shapes.emplace_back();
      inputs.emplace_back(&one, 1);
    }
    numbers = evaluate_operation(operation, shapes, inputs, {}, nullptr);
  };
  apply(Dequantize{0}, {x.scales[0], static_cast<float>(x.zeros[0])});
  switch (op.code) {
    case kQuantize:
      break;
    case kLogistic:
      apply(Sigmoid{}, {});
      break;
    case kTanh:
      apply(Unary{Unary::Kind::tanh}, {});
      break;
    case kRelu:
      apply(Unary{Unary::Kind::relu}, {});
      break;
    case kRelu6:
      apply(Unary{Unary::Kind::clip, 0, 6}, {});
      break;
    case kReluN1To1:
      apply(Unary{Unary::Kind::clip, -1, 1}, {});
      break;
    case kHardSwish:
      apply(Unary{Unary::Kind::hard_swish}, {});
      break;
    case kLeakyRelu:
      apply(Unary{Unary::Kind::leaky_relu, op.options.alpha}, {});
      break;
    default:
      refuse(operator_name(op) + " of codes");
  }
  apply(Quantize{-128, 127, 0}, {y.scales[0], static_cast<float>(y.zeros[0])});
  const Steps codes(numbers.begin(), numbers.end());
  return array("int8_t", codes, y.name + ": of each code");
}

void CWriter::write_point(const TfliteOperator& op) {
  using namespace tflite_code;
  const std::uint64_t count = count_of(out(op));
  if (is_code(op.inputs[0]) && is_code(op.outputs[0]))
    return call("look_up",
                fmt::format("{}, {}, {}, {}", pointer(op.inputs[0]), table_of(op), count, pointer(op.outputs[0])));
  std::string made;
  bool asks_math = true;
  switch (op.code) {
    case kRelu:
      made = "x[i] > 0.0f ? x[i] : 0.0f";
      asks_math = false;
      break;
    case kRelu6:
      made = "x[i] < 0.0f ? 0.0f : x[i] > 6.0f ? 6.0f : x[i]";
      asks_math = false;
      break;
    case kReluN1To1:
      made = "x[i] < -1.0f ? -1.0f : x[i] > 1.0f ? 1.0f : x[i]";
      asks_math = false;
      break;
    case kLeakyRelu:
      made = fmt::format("x[i] < 0.0f ? x[i] * {} : x[i]", number(op.options.alpha));
      asks_math = false;
      break;
    case kHardSwish:
      made = "x[i] <= -3.0f ? 0.0f : x[i] >= 3.0f ? x[i] : x[i] * (x[i] + 3.0f) / 6.0f";
      asks_math = false;
      break;
    case kNegative:
      made = "-x[i]";
      asks_math = false;
      break;
    case kAbs:
      made = "x[i] < 0.0f ? -x[i] : x[i]";
      asks_math = false;
      break;
    case kLogistic:
      made = "1.0f / (1.0f + expf(-x[i]))";
      break;
    case kTanh:
      made = "tanhf(x[i])";
      break;
    case kExp:
      made = "expf(x[i])";
      break;
    case kLog:
      made = "logf(x[i])";
      break;
    case kSqrt:
      made = "sqrtf(x[i])";
      break;
    case kRsqrt:
      made = "1.0f / sqrtf(x[i])";
      break;
    default:
      refuse(operator_name(op));
  }
  needs_math_ = needs_math_ || asks_math;
  body_ += fmt::format(
      "  {{\n    const float *x = {};\n    float *y = {};\n    size_t i;\n    for (i = 0; i < {}; ++i) y[i] = {};\n  "
      "}}\n",
      pointer(op.inputs[0]), pointer(op.outputs[0]), count, made);
}

void CWriter::write_mean(const TfliteOperator& op) {
  const TfliteTensor& x = in(op, 0);
  std::vector<std::int32_t> axes = whole_numbers(op, 1);
  for (std::int32_t& axis : axes) axis += axis < 0 ? static_cast<std::int32_t>(x.shape.size()) : 0;
  std::ranges::sort(axes);
  if (axes.empty() || axes.back() - axes.front() + 1 != static_cast<std::int32_t>(axes.size()))
    refuse("means over dimensions that are not neighbours");
  std::uint64_t outer = 1, count = 1, inner = 1;
  for (std::size_t i = 0; i < x.shape.size(); ++i)
    (static_cast<std::int32_t>(i) < axes.front()  ? outer
     : static_cast<std::int32_t>(i) > axes.back() ? inner
                                                  : count) *= x.shape[i];
  if (is_code(op.inputs[0]))
    return call("mean", fmt::format("{}, {}, {}, {}, {}, {}, {}", pointer(op.inputs[0]), grid(op.inputs[0]), outer,
                                    count, inner, grid(op.outputs[0]), pointer(op.outputs[0])));
  call("mean_floats",
       fmt::format("{}, {}, {}, {}, {}", pointer(op.inputs[0]), outer, count, inner, pointer(op.outputs[0])));
}

void CWriter::write_softmax(const TfliteOperator& op) {
  const TfliteTensor &x = in(op, 0), &y = out(op);
  const std::uint64_t count = x.shape.back(), rows = count_of(x) / std::max<std::uint64_t>(1, count);
  if (!is_code(op.inputs[0])) {
    needs_math_ = true;
    return call("share_floats", fmt::format("{}, {}, {}, {}, {}", pointer(op.inputs[0]), number(op.options.beta), rows,
                                            count, pointer(op.outputs[0])));
  }
  if (y.scales[0] != 1.0F / 256 || y.zeros[0] != -128) refuse("a softmax on another grid than 1/256");
  Steps powers;
  for (int below = 0; below < 256; ++below)
    powers.push_back(static_cast<std::int64_t>(std::nearbyint(
        std::ldexp(std::exp(-below * static_cast<double>(x.scales[0]) * static_cast<double>(op.options.beta)), 31))));
  call("share", fmt::format("{}, {}, {}, {}, {}", pointer(op.inputs[0]),
                            array("uint32_t", powers, y.name + ": powers of e"), rows, count, pointer(op.outputs[0])));
}

}  // namespace nibble
