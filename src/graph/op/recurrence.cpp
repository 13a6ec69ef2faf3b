// SPDX-License-Identifier: Apache-2.0
#include "graph/op/recurrence.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "graph/extents.h"

namespace nibble {
namespace {

using Kind = GateFunction::Kind;

}  // namespace

double GateFunction::operator()(double x) const {
  const auto alpha = static_cast<double>(a), beta = static_cast<double>(b);
  switch (kind) {
    case Kind::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Kind::tanh:
      return std::tanh(x);
    case Kind::relu:
      return std::max(x, 0.0);
    case Kind::hard_sigmoid:
      return std::max(0.0, std::min(1.0, alpha * x + beta));
    case Kind::leaky_relu:
      return x < 0 ? alpha * x : x;
    case Kind::elu:
      return x < 0 ? alpha * std::expm1(x) : x;
    case Kind::softsign:
      return x / (1 + std::abs(x));
    case Kind::softplus:
      return std::log1p(std::exp(x));
    case Kind::affine:
      return alpha * x + beta;
    case Kind::scaled_tanh:
      return alpha * std::tanh(beta * x);
    case Kind::thresholded_relu:
      return x > alpha ? x : 0;
  }
  return x;
}

bool find_gate_function(std::string_view name, GateFunction& function) {
  struct Named {
    std::string_view name;
    GateFunction function;
  };
  constexpr Named kFunctions[] = {{"sigmoid", {Kind::sigmoid}},
                                  {"tanh", {Kind::tanh}},
                                  {"relu", {Kind::relu}},
                                  {"hardsigmoid", {Kind::hard_sigmoid, 0.2F, 0.5F}},
                                  {"leakyrelu", {Kind::leaky_relu, 0.01F}},
                                  {"elu", {Kind::elu, 1}},
                                  {"softsign", {Kind::softsign}},
                                  {"softplus", {Kind::softplus}},
                                  {"affine", {Kind::affine, 1, 0}},
                                  {"scaledtanh", {Kind::scaled_tanh, 1, 1}},
                                  {"thresholdedrelu", {Kind::thresholded_relu, 1}}};
  std::string small;
  for (const char c : name) small += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Named& one : kFunctions)
    if (one.name == small) {
      function = one.function;
      return true;
    }
  return false;
}

double dot(const float* w, std::span<const float> x) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(w[i]) * static_cast<double>(x[i]);
  return sum;
}

double dot(const float* w, std::span<const double> x) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(w[i]) * x[i];
  return sum;
}

void require_recurrent(std::span<const Dimensions> inputs, RecurrentDirections directions, std::uint64_t hidden,
                       std::string_view operation) {
  require_drawable(inputs[0].size() == 3 && hidden > 0, operation, "an input that is not [steps, batch, inputs]");
  for (const Dimensions& first : inputs.subspan(1))
    require_drawable(extents_of(first) == Extents{num_directions(directions), inputs[0][1].extent, hidden}, operation,
                     "a first state of another shape");
}

void walk_steps(RecurrentDirections directions, const Dimensions& x, std::uint64_t hidden,
                std::span<const float> numbers, std::span<const float> first_hidden, std::span<const float> first_cell,
                const std::function<void(const RecurrentStep&)>& step, std::span<float> output) {
  const std::size_t steps = x[0].extent, batch = x[1].extent, inputs = x[2].extent, units = hidden;
  const std::size_t num = num_directions(directions), width = units * (first_cell.empty() ? 1 : 2);
  std::vector<double> state(units), cell(first_cell.empty() ? 0 : units);
  for (std::size_t d = 0; d < num; ++d)
    for (std::size_t b = 0; b < batch; ++b) {
      const std::size_t sequence = d * batch + b;
      std::copy_n(first_hidden.data() + sequence * units, units, state.begin());
      if (!cell.empty()) std::copy_n(first_cell.data() + sequence * units, units, cell.begin());
      for (std::size_t i = 0; i < steps; ++i) {
        const std::size_t t = directions == RecurrentDirections::reverse || d == 1 ? steps - 1 - i : i;
        step({d, numbers.subspan((t * batch + b) * inputs, inputs), state, cell});
        float* to = output.data() + ((t * num + d) * batch + b) * width;
        for (double& h : state) {
          *to++ = static_cast<float>(h);
          h = static_cast<double>(to[-1]);
        }
        for (double& c : cell) {
          *to++ = static_cast<float>(c);
          c = static_cast<double>(to[-1]);
        }
      }
    }
}

}  // namespace nibble
