// SPDX-License-Identifier: Apache-2.0
//
// What is computed number by number.
#include <cmath>

#include "io/tflite/tflite_codes.h"
#include "net/tflite/tflite_speller.h"

namespace nibble {
namespace {

// One operator for a function; -1: there is none.
int code_of(Unary::Kind kind) {
  using namespace tflite_code;
  switch (kind) {
    case Unary::Kind::relu:
      return kRelu;
    case Unary::Kind::leaky_relu:
      return kLeakyRelu;
    case Unary::Kind::hard_swish:
      return kHardSwish;
    case Unary::Kind::gelu:
      return kGelu;
    case Unary::Kind::tanh:
      return kTanh;
    case Unary::Kind::exponential:
      return kExp;
    case Unary::Kind::logarithm:
      return kLog;
    case Unary::Kind::square_root:
      return kSqrt;
    case Unary::Kind::negative:
      return kNegative;
    case Unary::Kind::absolute:
      return kAbs;
    case Unary::Kind::floor:
      return kFloor;
    case Unary::Kind::ceiling:
      return kCeil;
    case Unary::Kind::round:
      return kRound;
    case Unary::Kind::sine:
      return kSin;
    case Unary::Kind::cosine:
      return kCos;
    default:
      return -1;
  }
}

int code_of(Binary::Kind kind) {
  using namespace tflite_code;
  switch (kind) {
    case Binary::Kind::add:
      return kAdd;
    case Binary::Kind::subtract:
      return kSubtract;
    case Binary::Kind::multiply:
      return kMultiply;
    case Binary::Kind::divide:
      return kDivide;
    case Binary::Kind::power:
      return kPower;
    case Binary::Kind::minimum:
      return kMinimum;
    case Binary::Kind::maximum:
      return kMaximum;
    case Binary::Kind::parametric_relu:
      return kPrelu;
    default:
      return -1;
  }
}

}  // namespace

// One that is repeated has as many dimensions as what is made, so that they lie alike.
int TfliteSpeller::operand(const Site& site, std::size_t input, ValueOrder order, std::size_t rank) {
  const ValueId value = site.node.inputs[input];
  const Extents drawn = extents(value);
  if (order == ValueOrder::drawn || drawn.size() == rank || drawn.empty()) return in(site, input, order);
  Extents shape(rank - drawn.size(), 1);
  shape.insert(shape.end(), drawn.begin(), drawn.end());
  if (const Constant* const constant = spelling_.constant_of(value)) {
    const Dimensions wide = named(shape);
    const std::vector<float> numbers = evaluate_operation(Transpose{dimensions_of(order, rank)}, std::span(&wide, 1),
                                                          {net_.weight(constant->part)}, {}, nullptr);
    return draft_.numbers(constant->part, numbers, ordered(std::span<const std::uint64_t>(shape), order));
  }
  const int wide = draft_.reshape(in(site, input, ValueOrder::drawn), shape, name_of(value) + "/repeated");
  return draft_.transpose(wide, dimensions_of(order, rank), name_of(value) + "/channels_last");
}

void TfliteSpeller::spell_unary(const Site& site, const Unary& op) {
  using namespace tflite_code;
  const ValueOrder order = orders_[site.made];
  const Extents shape = lying(site.made, order);
  const int x = in(site, 0, order);
  TfliteOptions options;
  if (op.kind == Unary::Kind::clip) {
    const auto activation = CodeSpelling::activation_of(op);
    if (activation == TfliteActivation::relu6) return make(site, kRelu6, {x}, order);
    if (activation == TfliteActivation::relu_n1_to_1) return make(site, kReluN1To1, {x}, order);
    if (!std::isfinite(op.a)) return make(site, kMinimum, {x, number(op.b)}, order);
    if (!std::isfinite(op.b)) return make(site, kMaximum, {x, number(op.a)}, order);
    return make(site, kMinimum, {step(site, kMaximum, {x, number(op.a)}, shape), number(op.b)}, order);
  }
  if (op.kind == Unary::Kind::hard_sigmoid) {
    const int scaled = step(site, kMultiply, {x, number(op.a)}, shape);
    const int shifted = step(site, kAdd, {scaled, number(op.b)}, shape);
    return make(site, kMinimum, {step(site, kMaximum, {shifted, number(0)}, shape), number(1)}, order);
  }
  if (op.kind == Unary::Kind::reciprocal) return make(site, kDivide, {number(1), x}, order);
  if (op.kind == Unary::Kind::elu && op.a == 1) return make(site, kElu, {x}, order);
  const int code = code_of(op.kind);
  if (code < 0) refuse("this function of a number");
  if (op.kind == Unary::Kind::leaky_relu) options.alpha = op.a;
  make(site, code, {x}, order, options);
}

void TfliteSpeller::spell_binary(const Site& site, Binary::Kind kind) {
  const int code = code_of(kind);
  if (code < 0) refuse("this function of two numbers");
  const ValueOrder order = orders_[site.made];
  const std::size_t rank = extents(site.made).size();
  const int a = operand(site, 0, order, rank), b = operand(site, 1, order, rank);
  make(site, code, {a, b}, order);
}

void TfliteSpeller::spell_silu(const Site& site) {
  const ValueOrder order = orders_[site.made];
  const int x = in(site, 0, order);
  const int share = step(site, tflite_code::kLogistic, {x}, lying(site.made, order));
  make(site, tflite_code::kMultiply, {x, share}, order);
}

void TfliteSpeller::spell_layer_norm(const Site& site, const LayerNorm& op) {
  using namespace tflite_code;
  const Extents shape = extents(site.made);
  Extents one = shape;
  std::vector<std::uint64_t> axes;
  for (std::uint64_t axis = op.axis; axis < shape.size(); ++axis) {
    axes.push_back(axis);
    one[axis] = 1;
  }
  const int over = draft_.whole_numbers(axes), x = floats(site.node.inputs[0], ValueOrder::drawn);
  TfliteOptions keeps;
  keeps.keeps_dimensions = true;
  const int apart = step(site, kSubtract, {x, step(site, kMean, {x, over}, one, keeps)}, shape);
  const int variance = step(site, kMean, {step(site, kMultiply, {apart, apart}, shape), over}, one, keeps);
  const int factor = step(site, kRsqrt, {step(site, kAdd, {variance, number(op.epsilon)}, one)}, one);
  if (op.part.empty()) return make(site, kMultiply, {apart, factor}, ValueOrder::drawn);
  const Extents tail(shape.begin() + static_cast<std::ptrdiff_t>(op.axis), shape.end());
  const int even = step(site, kMultiply, {apart, factor}, shape);
  const int gain = draft_.numbers(op.part, net_.weight(op.part), tail);
  if (!op.has_bias) return make(site, kMultiply, {even, gain}, ValueOrder::drawn);
  const std::string bias = op.part + ".bias";
  make(site, kAdd, {step(site, kMultiply, {even, gain}, shape), draft_.numbers(bias, net_.weight(bias), tail)},
       ValueOrder::drawn);
}

// A factor and a sum for each channel.
void TfliteSpeller::spell_batch_norm(const Site& site, const BatchNorm& op) {
  const ValueOrder order = orders_[site.made];
  const Extents shape = extents(site.made);
  const auto gain = net_.weight(op.part), bias = net_.weight(op.part + ".bias"), mean = net_.weight(op.part + ".mean"),
             variance = net_.weight(op.part + ".variance");
  std::vector<float> factors, sums;
  for (std::size_t i = 0; i < gain.size(); ++i) {
    const double factor =
        static_cast<double>(gain[i]) / std::sqrt(static_cast<double>(variance[i]) + static_cast<double>(op.epsilon));
    factors.push_back(static_cast<float>(factor));
    sums.push_back(static_cast<float>(static_cast<double>(bias[i]) - factor * static_cast<double>(mean[i])));
  }
  Extents channels(shape.size(), 1);
  channels[place_of(order, shape.size(), 1)] = gain.size();
  const int scaled = step(site, tflite_code::kMultiply,
                          {in(site, 0, order), draft_.numbers(op.part, factors, channels)}, lying(site.made, order));
  make(site, tflite_code::kAdd, {scaled, draft_.numbers(op.part + ".bias", sums, channels)}, order);
}

}  // namespace nibble
