// SPDX-License-Identifier: Apache-2.0
#include "graph/op/binary.h"

#include <algorithm>
#include <cmath>

#include "graph/extents.h"

namespace nibble {
namespace {

using Kind = Binary::Kind;

float remainder_of(double a, double b) {
  const double rest = std::fmod(a, b);
  return static_cast<float>(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

float apply(Kind kind, float a, float b) {
  switch (kind) {
    case Kind::add:
      return a + b;
    case Kind::subtract:
      return a - b;
    case Kind::multiply:
      return a * b;
    case Kind::divide:
      return a / b;
    case Kind::divide_integers:
      return std::trunc(a / b);
    case Kind::power:
      return static_cast<float>(std::pow(static_cast<double>(a), static_cast<double>(b)));
    case Kind::minimum:
      return std::isnan(a) ? a : std::isnan(b) ? b : std::min(a, b);
    case Kind::maximum:
      return std::isnan(a) ? a : std::isnan(b) ? b : std::max(a, b);
    case Kind::remainder:
      return remainder_of(static_cast<double>(a), static_cast<double>(b));
    case Kind::float_remainder:
      return std::fmod(a, b);
    case Kind::parametric_relu:
      return a < 0 ? b * a : a;
    case Kind::equal:
      return a == b ? 1.0F : 0.0F;
    case Kind::less:
      return a < b ? 1.0F : 0.0F;
    case Kind::less_or_equal:
      return a <= b ? 1.0F : 0.0F;
    case Kind::greater:
      return a > b ? 1.0F : 0.0F;
    case Kind::greater_or_equal:
      return a >= b ? 1.0F : 0.0F;
    case Kind::both:
      return a != 0 && b != 0 ? 1.0F : 0.0F;
    case Kind::either:
      return a != 0 || b != 0 ? 1.0F : 0.0F;
    case Kind::one_of:
      return (a != 0) != (b != 0) ? 1.0F : 0.0F;
  }
  return a;
}

// Empty: it makes truths or whole numbers.
std::string_view operator_of(Kind kind) {
  switch (kind) {
    case Kind::add:
      return "Add";
    case Kind::subtract:
      return "Sub";
    case Kind::multiply:
      return "Mul";
    case Kind::divide:
      return "Div";
    case Kind::power:
      return "Pow";
    case Kind::minimum:
      return "Min";
    case Kind::maximum:
      return "Max";
    case Kind::parametric_relu:
      return "PRelu";
    default:
      return {};
  }
}

// Truths are of a type of their own there.
std::string_view truth_operator_of(Kind kind) {
  switch (kind) {
    case Kind::equal:
      return "Equal";
    case Kind::less:
      return "Less";
    case Kind::less_or_equal:
      return "LessOrEqual";
    case Kind::greater:
      return "Greater";
    case Kind::greater_or_equal:
      return "GreaterOrEqual";
    case Kind::both:
      return "And";
    case Kind::either:
      return "Or";
    case Kind::one_of:
      return "Xor";
    default:
      return {};
  }
}

}  // namespace

Dimensions Binary::output(std::span<const Dimensions> inputs) const { return broadcast(inputs[0], inputs[1], kName); }

std::vector<WeightUse> Binary::weights(std::span<const Dimensions>) const { return {}; }

// A product's first factor, where the second is not larger.
std::vector<ScalePassage> Binary::scale_passages(std::span<const Dimensions> inputs) const {
  if (kind != Kind::multiply && kind != Kind::divide) return {};
  if (broadcast(inputs[0], inputs[1], kName) != inputs[0]) return {};
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost Binary::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(output(inputs))}; }

OnnxSpelling Binary::onnx(std::span<const Dimensions>) const {
  constexpr std::int64_t kF32 = 1, kTruth = 9;
  OnnxSpelling s;
  const std::string_view op = operator_of(kind), truth = truth_operator_of(kind);
  const bool reads_truths = kind == Kind::both || kind == Kind::either || kind == Kind::one_of;
  const auto operand = [&](std::size_t input) {
    return reads_truths ? s.apply("Cast", {s.input(input)}, {{"to", kTruth}}) : s.input(input);
  };
  if (!truth.empty()) {
    const OnnxOperand a = operand(0), b = operand(1);
    s.apply("Cast", {s.apply(std::string(truth), {a, b})}, {{"to", kF32}});
  } else if (kind == Kind::float_remainder)
    s.apply("Mod", {s.input(0), s.input(1)}, {{"fmod", std::int64_t{1}}});
  else if (op.empty())
    s.refuse("whole numbers are of types of their own there");
  else
    s.apply(std::string(op), {s.input(0), s.input(1)});
  return s;
}

void Binary::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Dimensions shape = this->output(inputs);
  const Strided a = broadcast_strides(inputs[0], shape), b = broadcast_strides(inputs[1], shape);
  const std::size_t length = shape.empty() ? 1 : static_cast<std::size_t>(shape.back().extent);
  const std::size_t a_step = shape.empty() ? 0 : static_cast<std::size_t>(a.strides.back());
  const std::size_t b_step = shape.empty() ? 0 : static_cast<std::size_t>(b.strides.back());
  if (output.empty()) return;
  for_each_row<2>(extents_of(shape), {a, b}, [&](std::size_t out, std::array<std::size_t, 2> at) {
    const float* const x = &operands.inputs[0][at[0]];
    const float* const y = &operands.inputs[1][at[1]];
    float* const z = &output[out];
    if (kind == Kind::add)
      for (std::size_t i = 0; i < length; ++i) z[i] = x[i * a_step] + y[i * b_step];
    else if (kind == Kind::multiply)
      for (std::size_t i = 0; i < length; ++i) z[i] = x[i * a_step] * y[i * b_step];
    else
      for (std::size_t i = 0; i < length; ++i) z[i] = apply(kind, x[i * a_step], y[i * b_step]);
  });
}

}  // namespace nibble
