// SPDX-License-Identifier: Apache-2.0
//
// What recurrent cells of small nets share: which way they go over the steps, and the functions of their gates.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/onnx_spelling.h"
#include "graph/value.h"

namespace nibble {

enum class RecurrentDirections { forward, reverse, both };

inline std::uint64_t num_directions(RecurrentDirections directions) {
  return directions == RecurrentDirections::both ? 2 : 1;
}

struct GateFunction {
  enum class Kind {
    sigmoid,
    tanh,
    relu,
    hard_sigmoid,
    leaky_relu,
    elu,
    softsign,
    softplus,
    affine,
    scaled_tanh,
    thresholded_relu
  };
  Kind kind = Kind::sigmoid;
  float a = 0, b = 0;
  bool operator==(const GateFunction&) const = default;

  double operator()(double x) const;
};
// By its name in ONNX, in any case, with the numbers that it has there. false: there is no such function.
bool find_gate_function(std::string_view name, GateFunction& function);

// One step of one direction and sequence: what it reads of x, [hidden] of each state, which it changes.
struct RecurrentStep {
  std::size_t direction = 0;
  std::span<const float> x;
  std::span<double> hidden, cell;  // cell: of cells that have one
};

// Goes over steps x directions x sequences: x [steps, batch, inputs]; output [steps, directions, batch, width], of
// which each step's hidden, and behind it cell, numbers are stored. first: [directions, batch, hidden] each.
void walk_steps(RecurrentDirections directions, const Dimensions& x, std::uint64_t hidden,
                std::span<const float> numbers, std::span<const float> first_hidden, std::span<const float> first_cell,
                const std::function<void(const RecurrentStep&)>& step, std::span<float> output);

// sum over i of w[i] * x[i]
double dot(const float* w, std::span<const float> x);
double dot(const float* w, std::span<const double> x);

// Error(internal) names the operation: x or a first state of another shape.
void require_recurrent(std::span<const Dimensions> inputs, RecurrentDirections directions, std::uint64_t hidden,
                       std::string_view operation);

}  // namespace nibble
