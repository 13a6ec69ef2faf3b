// SPDX-License-Identifier: Apache-2.0
#include "graph/op/unary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "graph/extents.h"

namespace nibble {
namespace {

using Kind = Unary::Kind;

double apply(Kind kind, double x, double a, double b) {
  switch (kind) {
    case Kind::relu:
      return std::max(x, 0.0);
    case Kind::clip:
      return std::min(std::max(x, a), b);
    case Kind::leaky_relu:
      return x < 0 ? a * x : x;
    case Kind::hard_sigmoid:
      return std::max(0.0, std::min(1.0, a * x + b));
    case Kind::hard_swish:
      return x * std::max(0.0, std::min(1.0, x / 6 + 0.5));
    case Kind::elu:
      return x < 0 ? a * std::expm1(x) : x;
    case Kind::selu:
      return b * (x < 0 ? a * std::expm1(x) : x);
    case Kind::celu:
      return x < 0 ? a * std::expm1(x / a) : x;
    case Kind::thresholded_relu:
      return x > a ? x : 0;
    case Kind::gelu:
      return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
    case Kind::mish:
      return x * std::tanh(x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)));
    case Kind::softplus:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case Kind::softsign:
      return x / (1 + std::abs(x));
    case Kind::tanh:
      return std::tanh(x);
    case Kind::exponential:
      return std::exp(x);
    case Kind::logarithm:
      return std::log(x);
    case Kind::square_root:
      return std::sqrt(x);
    case Kind::reciprocal:
      return 1 / x;
    case Kind::negative:
      return -x;
    case Kind::absolute:
      return std::abs(x);
    case Kind::erf:
      return std::erf(x);
    case Kind::sign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case Kind::floor:
      return std::floor(x);
    case Kind::ceiling:
      return std::ceil(x);
    case Kind::round:
      return std::nearbyint(x);
    case Kind::truncate:
      return std::trunc(x);
    case Kind::sine:
      return std::sin(x);
    case Kind::cosine:
      return std::cos(x);
    case Kind::invert:
      return x == 0 ? 1 : 0;
    case Kind::is_nan:
      return std::isnan(x) ? 1 : 0;
    case Kind::is_true:
      return x == 0 ? 0 : 1;
  }
  return x;
}

// The operator that says it without numbers; empty: none does.
std::string_view operator_of(Kind kind) {
  switch (kind) {
    case Kind::relu:
      return "Relu";
    case Kind::hard_swish:
      return "HardSwish";
    case Kind::gelu:
      return "Gelu";
    case Kind::mish:
      return "Mish";
    case Kind::softplus:
      return "Softplus";
    case Kind::softsign:
      return "Softsign";
    case Kind::tanh:
      return "Tanh";
    case Kind::exponential:
      return "Exp";
    case Kind::logarithm:
      return "Log";
    case Kind::square_root:
      return "Sqrt";
    case Kind::reciprocal:
      return "Reciprocal";
    case Kind::negative:
      return "Neg";
    case Kind::absolute:
      return "Abs";
    case Kind::erf:
      return "Erf";
    case Kind::sign:
      return "Sign";
    case Kind::floor:
      return "Floor";
    case Kind::ceiling:
      return "Ceil";
    case Kind::round:
      return "Round";
    case Kind::sine:
      return "Sin";
    case Kind::cosine:
      return "Cos";
    default:
      return {};
  }
}

}  // namespace

Dimensions Unary::output(std::span<const Dimensions> inputs) const { return inputs[0]; }

std::vector<WeightUse> Unary::weights(std::span<const Dimensions>) const { return {}; }

// Those that multiply each side of 0 by itself; factors are positive.
std::vector<ScalePassage> Unary::scale_passages(std::span<const Dimensions>) const {
  const bool passes =
      kind == Kind::relu || kind == Kind::leaky_relu || kind == Kind::negative || kind == Kind::absolute;
  if (!passes) return {};
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost Unary::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling Unary::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const OnnxOperand x = s.input(0);
  if (const std::string_view op = operator_of(kind); !op.empty())
    s.apply(std::string(op), {x});
  else if (kind == Kind::clip)
    s.apply("Clip", {x, s.number(a), s.number(b)});
  else if (kind == Kind::leaky_relu)
    s.apply("LeakyRelu", {x}, {{"alpha", a}});
  else if (kind == Kind::hard_sigmoid)
    s.apply("HardSigmoid", {x}, {{"alpha", a}, {"beta", b}});
  else if (kind == Kind::elu)
    s.apply("Elu", {x}, {{"alpha", a}});
  else if (kind == Kind::selu)
    s.apply("Selu", {x}, {{"alpha", a}, {"gamma", b}});
  else if (kind == Kind::celu)
    s.apply("Celu", {x}, {{"alpha", a}});
  else if (kind == Kind::thresholded_relu)
    s.apply("ThresholdedRelu", {x}, {{"alpha", a}});
  else if (kind == Kind::truncate)
    s.apply("Mul", {s.apply("Sign", {x}), s.apply("Floor", {s.apply("Abs", {x})})});
  else {
    // Truths are of a type of their own there.
    constexpr std::int64_t kF32 = 1, kTruth = 9;
    const auto truth = kind == Kind::is_nan ? s.apply("IsNaN", {x}) : s.apply("Cast", {x}, {{"to", kTruth}});
    s.apply("Cast", {kind == Kind::invert ? s.apply("Not", {truth}) : truth}, {{"to", kF32}});
  }
  return s;
}

void Unary::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  const std::span<const float> x = operands.inputs[0];
  if (kind == Kind::relu) {
    for (std::size_t i = 0; i < output.size(); ++i) output[i] = std::max(x[i], 0.0F);
    return;
  }
  for (std::size_t i = 0; i < output.size(); ++i)
    output[i] =
        static_cast<float>(apply(kind, static_cast<double>(x[i]), static_cast<double>(a), static_cast<double>(b)));
}

}  // namespace nibble
