// SPDX-License-Identifier: Apache-2.0
#include "graph/op/lstm.h"

#include <algorithm>

#include "graph/extents.h"

namespace nibble {

Dimensions Lstm::output(std::span<const Dimensions> inputs) const {
  require_recurrent(inputs, directions, hidden, kName);
  require_drawable(functions.size() == 3 * num_directions(directions), kName, "another number of functions");
  const std::uint64_t width = 2 * hidden;
  return {{Axis::other, inputs[0][0].extent},
          {Axis::other, num_directions(directions)},
          inputs[0][1],
          {Axis::channel, width}};
}

std::vector<WeightUse> Lstm::weights(std::span<const Dimensions> inputs) const {
  const std::uint64_t count = num_directions(directions);
  std::vector<WeightUse> uses = {{part, TensorRole::linear, {count, 4 * hidden, inputs[0][2].extent}},
                                 {part + ".recurrent", TensorRole::linear, {count, 4 * hidden, hidden}}};
  if (has_bias) uses.push_back({part + ".bias", TensorRole::bias, {count, 8 * hidden}});
  if (has_peepholes) uses.push_back({part + ".peepholes", TensorRole::coefficients, {count, 3 * hidden}});
  return uses;
}

// Gates are not linear.
std::vector<ScalePassage> Lstm::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Lstm::cost(std::span<const Dimensions> inputs) const {
  return {.whole = numbers_of(inputs[0]) / std::max<std::uint64_t>(1, inputs[0][2].extent) *
                   num_directions(directions) * 4 * hidden * (inputs[0][2].extent + hidden)};
}

OnnxSpelling Lstm::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("its outputs lie otherwise there");
  return s;
}

void Lstm::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::size_t units = hidden, inputs_wide = inputs[0][2].extent;
  const std::span<const float> w = operands.weight(part), r = operands.weight(part + ".recurrent");
  const std::span<const float> b = has_bias ? operands.weight(part + ".bias") : std::span<const float>{};
  const std::span<const float> p = has_peepholes ? operands.weight(part + ".peepholes") : std::span<const float>{};
  std::vector<double> gates(4 * units);
  const auto clipped = [&](double x) {
    const auto most = static_cast<double>(clip);
    return clip > 0 ? std::min(std::max(x, -most), most) : x;
  };
  const auto step = [&](const RecurrentStep& s) {
    const std::size_t d = s.direction;
    const GateFunction *const f = &functions[3 * d], *const g = f + 1, *const h = f + 2;
    for (std::size_t i = 0; i < 4 * units; ++i) {
      gates[i] = dot(&w[(d * 4 * units + i) * inputs_wide], s.x) + dot(&r[(d * 4 * units + i) * units], s.hidden);
      if (!b.empty())
        gates[i] += static_cast<double>(b[d * 8 * units + i]) + static_cast<double>(b[(d * 8 + 4) * units + i]);
    }
    const auto peephole = [&](std::size_t gate, std::size_t i, double cell) {
      return p.empty() ? 0.0 : static_cast<double>(p[(d * 3 + gate) * units + i]) * cell;
    };
    for (std::size_t i = 0; i < units; ++i) {
      const double before = s.cell[i];
      const double in = (*f)(clipped(gates[i] + peephole(0, i, before)));
      const double forget = couples_gates ? 1 - in : (*f)(clipped(gates[2 * units + i] + peephole(2, i, before)));
      s.cell[i] = forget * before + in * (*g)(clipped(gates[3 * units + i]));
      s.hidden[i] = (*f)(clipped(gates[units + i] + peephole(1, i, s.cell[i]))) * (*h)(s.cell[i]);
    }
  };
  walk_steps(directions, inputs[0], hidden, operands.inputs[0], operands.inputs[1], operands.inputs[2], step, output);
}

}  // namespace nibble
