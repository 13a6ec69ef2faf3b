// SPDX-License-Identifier: Apache-2.0
//
// Functions of one number and of two.
#include <cmath>
#include <numbers>

#include "graph/extents.h"
#include "train/net/sample_gradients.h"

namespace nibble {
namespace {

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double slope_of(const Unary& op, double x) {
  using Kind = Unary::Kind;
  const auto a = static_cast<double>(op.a), b = static_cast<double>(op.b);
  switch (op.kind) {
    case Kind::relu:
      return x > 0 ? 1 : 0;
    case Kind::clip:
      return x > a && x < b ? 1 : 0;
    case Kind::leaky_relu:
      return x < 0 ? a : 1;
    case Kind::hard_sigmoid:
      return a * x + b > 0 && a * x + b < 1 ? a : 0;
    case Kind::hard_swish:
      return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
    case Kind::elu:
      return x < 0 ? a * std::exp(x) : 1;
    case Kind::selu:
      return b * (x < 0 ? a * std::exp(x) : 1);
    case Kind::celu:
      return x < 0 ? std::exp(x / a) : 1;
    case Kind::thresholded_relu:
      return x > a ? 1 : 0;
    case Kind::gelu:
      return (1 + std::erf(x / std::numbers::sqrt2)) / 2 +
             x * std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    case Kind::mish: {
      const double t = std::tanh(softplus(x));
      return t + x * (1 - t * t) * sigmoid(x);
    }
    case Kind::softplus:
      return sigmoid(x);
    case Kind::softsign:
      return 1 / ((1 + std::abs(x)) * (1 + std::abs(x)));
    case Kind::tanh:
      return 1 - std::tanh(x) * std::tanh(x);
    case Kind::exponential:
      return std::exp(x);
    case Kind::logarithm:
      return 1 / x;
    case Kind::square_root:
      return 1 / (2 * std::sqrt(x));
    case Kind::reciprocal:
      return -1 / (x * x);
    case Kind::negative:
      return -1;
    case Kind::absolute:
      return x > 0 ? 1 : x < 0 ? -1 : 0;
    case Kind::erf:
      return 2 * std::numbers::inv_sqrtpi * std::exp(-x * x);
    case Kind::sine:
      return std::cos(x);
    case Kind::cosine:
      return -std::sin(x);
    default:
      return 0;
  }
}

struct Slopes {
  double by_a = 0, by_b = 0;
};

Slopes slopes_of(Binary::Kind kind, double a, double b) {
  using Kind = Binary::Kind;
  switch (kind) {
    case Kind::add:
      return {1, 1};
    case Kind::subtract:
      return {1, -1};
    case Kind::multiply:
      return {b, a};
    case Kind::divide:
      return {1 / b, -a / (b * b)};
    case Kind::power:
      return {b == 0 ? 0 : b * std::pow(a, b - 1), a > 0 ? std::pow(a, b) * std::log(a) : 0};
    case Kind::minimum:
      return a < b ? Slopes{1, 0} : a > b ? Slopes{0, 1} : Slopes{0.5, 0.5};
    case Kind::maximum:
      return a > b ? Slopes{1, 0} : a < b ? Slopes{0, 1} : Slopes{0.5, 0.5};
    case Kind::float_remainder:
    case Kind::remainder:
      return {1, 0};
    case Kind::parametric_relu:
      return a < 0 ? Slopes{b, a} : Slopes{1, 0};
    default:
      return {};
  }
}

std::ptrdiff_t last(const Strided& operand) { return operand.strides.empty() ? 0 : operand.strides.back(); }
std::size_t length_of(const Extents& extents) { return extents.empty() ? 1 : static_cast<std::size_t>(extents.back()); }

}  // namespace

void add_gradient(const Unary& op, const SampleGradient& g) {
  const std::span<float> by_x = g.by_inputs[0];
  if (op.kind == Unary::Kind::relu) {
    for (std::size_t i = 0; i < by_x.size(); ++i) by_x[i] += g.inputs[0][i] > 0 ? g.by_made[i] : 0.0F;
    return;
  }
  for (std::size_t i = 0; i < by_x.size(); ++i)
    by_x[i] +=
        static_cast<float>(static_cast<double>(g.by_made[i]) * slope_of(op, static_cast<double>(g.inputs[0][i])));
}

void add_gradient(const Binary& op, const SampleGradient& g) {
  const Dimensions shape = op.output(g.shapes);
  const Extents extents = extents_of(shape);
  const Strided a = broadcast_strides(g.shapes[0], shape), b = broadcast_strides(g.shapes[1], shape);
  for_each_row<2>(extents, {a, b}, [&](std::size_t out, std::array<std::size_t, 2> at) {
    for (std::size_t i = 0; i < length_of(extents); ++i) {
      const std::size_t of_a = at[0] + i * static_cast<std::size_t>(last(a)),
                        of_b = at[1] + i * static_cast<std::size_t>(last(b));
      const Slopes slopes =
          slopes_of(op.kind, static_cast<double>(g.inputs[0][of_a]), static_cast<double>(g.inputs[1][of_b]));
      const auto dy = static_cast<double>(g.by_made[out + i]);
      if (!g.by_inputs[0].empty()) g.by_inputs[0][of_a] += static_cast<float>(dy * slopes.by_a);
      if (!g.by_inputs[1].empty()) g.by_inputs[1][of_b] += static_cast<float>(dy * slopes.by_b);
    }
  });
}

void add_gradient(const Select& op, const SampleGradient& g) {
  const Dimensions shape = op.output(g.shapes);
  const Extents extents = extents_of(shape);
  const Strided which = broadcast_strides(g.shapes[0], shape), a = broadcast_strides(g.shapes[1], shape),
                b = broadcast_strides(g.shapes[2], shape);
  for_each_row<3>(extents, {which, a, b}, [&](std::size_t out, std::array<std::size_t, 3> at) {
    for (std::size_t i = 0; i < length_of(extents); ++i) {
      const bool is_first = g.inputs[0][at[0] + i * static_cast<std::size_t>(last(which))] != 0;
      const std::span<float> by = g.by_inputs[is_first ? 1 : 2];
      const std::size_t place =
          is_first ? at[1] + i * static_cast<std::size_t>(last(a)) : at[2] + i * static_cast<std::size_t>(last(b));
      if (!by.empty()) by[place] += g.by_made[out + i];
    }
  });
}

}  // namespace nibble
