// SPDX-License-Identifier: Apache-2.0
#include "graph/op/gru.h"

#include <algorithm>

#include "graph/extents.h"

namespace nibble {

Dimensions Gru::output(std::span<const Dimensions> inputs) const {
  require_recurrent(inputs, directions, hidden, kName);
  require_drawable(functions.size() == 2 * num_directions(directions), kName, "another number of functions");
  const std::uint64_t width = hidden;
  return {{Axis::other, inputs[0][0].extent},
          {Axis::other, num_directions(directions)},
          inputs[0][1],
          {Axis::channel, width}};
}

std::vector<WeightUse> Gru::weights(std::span<const Dimensions> inputs) const {
  const std::uint64_t count = num_directions(directions);
  std::vector<WeightUse> uses = {{part, TensorRole::linear, {count, 3 * hidden, inputs[0][2].extent}},
                                 {part + ".recurrent", TensorRole::linear, {count, 3 * hidden, hidden}}};
  if (has_bias) uses.push_back({part + ".bias", TensorRole::bias, {count, 6 * hidden}});
  return uses;
}

// Gates are not linear.
std::vector<ScalePassage> Gru::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Gru::cost(std::span<const Dimensions> inputs) const {
  return {.whole = numbers_of(inputs[0]) / std::max<std::uint64_t>(1, inputs[0][2].extent) *
                   num_directions(directions) * 3 * hidden * (inputs[0][2].extent + hidden)};
}

OnnxSpelling Gru::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("its outputs lie otherwise there");
  return s;
}

void Gru::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::size_t units = hidden, inputs_wide = inputs[0][2].extent;
  const std::span<const float> w = operands.weight(part), r = operands.weight(part + ".recurrent");
  const std::span<const float> b = has_bias ? operands.weight(part + ".bias") : std::span<const float>{};
  std::vector<double> gates(3 * units), reset(units);
  const auto clipped = [&](double x) {
    const auto most = static_cast<double>(clip);
    return clip > 0 ? std::min(std::max(x, -most), most) : x;
  };
  const auto step = [&](const RecurrentStep& s) {
    const std::size_t d = s.direction;
    const GateFunction *const f = &functions[2 * d], *const g = f + 1;
    const auto bias = [&](std::size_t row) { return b.empty() ? 0.0 : static_cast<double>(b[d * 6 * units + row]); };
    const auto recurrent = [&](std::size_t i) { return &r[(d * 3 * units + i) * units]; };
    for (std::size_t i = 0; i < 3 * units; ++i) gates[i] = dot(&w[(d * 3 * units + i) * inputs_wide], s.x) + bias(i);
    for (std::size_t i = 0; i < 2 * units; ++i)
      gates[i] = (*f)(clipped(gates[i] + dot(recurrent(i), s.hidden) + bias(3 * units + i)));
    for (std::size_t i = 0; i < units; ++i) reset[i] = gates[units + i] * s.hidden[i];
    for (std::size_t i = 0; i < units; ++i) {
      const std::size_t row = 2 * units + i;
      gates[row] += resets_behind ? gates[units + i] * (dot(recurrent(row), s.hidden) + bias(3 * units + row))
                                  : dot(recurrent(row), reset) + bias(3 * units + row);
    }
    for (std::size_t i = 0; i < units; ++i)
      s.hidden[i] = (1 - gates[i]) * (*g)(clipped(gates[2 * units + i])) + gates[i] * s.hidden[i];
  };
  walk_steps(directions, inputs[0], hidden, operands.inputs[0], operands.inputs[1], {}, step, output);
}

}  // namespace nibble
