// SPDX-License-Identifier: Apache-2.0
#include "graph/op/rope.h"

#include <algorithm>
#include <cmath>

namespace nibble {

Dimensions Rope::output(std::span<const Dimensions> inputs) const {
  require_drawable(head_dim > 0 && width_of(inputs[0]) % head_dim == 0, kName, "channels are not whole heads");
  require_drawable(2 * frequencies.size() <= head_dim, kName, "more pairs than a head has");
  require_drawable(long_frequencies.empty() || long_frequencies.size() == frequencies.size(), kName,
                   "other pairs in long sequences");
  return inputs[0];
}

std::vector<WeightUse> Rope::weights(std::span<const Dimensions>) const { return {}; }

// Exact only where both channels of a pair have the same factor, which nobody asks for.
std::vector<ScalePassage> Rope::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Rope::cost(std::span<const Dimensions> inputs) const {
  return {.per_token = width_of(inputs[0]) / head_dim * 4 * frequencies.size()};
}

OnnxSpelling Rope::onnx(std::span<const Dimensions> inputs) const {
  OnnxSpelling s;
  const auto heads = static_cast<std::int64_t>(width_of(inputs[0]) / head_dim),
             all = static_cast<std::int64_t>(head_dim);
  const auto pairs = static_cast<std::int64_t>(frequencies.size());
  const auto cosines = s.surrounding(OnnxSurrounding::cosines), sines = s.surrounding(OnnxSurrounding::sines);
  const auto x = s.apply("Reshape", {s.input(0), s.integers({0, 0, heads, all})});
  const auto run = [&](std::int64_t begin, std::int64_t end, std::int64_t step) {
    return s.apply("Slice", {x, s.integers({begin}), s.integers({end}), s.integers({-1}), s.integers({step})});
  };
  const auto a = half_split ? run(0, pairs, 1) : run(0, 2 * pairs, 2);
  const auto b = half_split ? run(pairs, 2 * pairs, 1) : run(1, 2 * pairs, 2);
  OnnxOperand first = s.apply("Sub", {s.apply("Mul", {a, cosines}), s.apply("Mul", {b, sines})});
  OnnxOperand second = s.apply("Add", {s.apply("Mul", {a, sines}), s.apply("Mul", {b, cosines})});
  const std::vector<OnnxSetting> last_axis = {{"axis", std::int64_t{-1}}};
  OnnxOperand turned;
  if (half_split) {
    turned = s.apply("Concat", {first, second}, last_axis);
  } else {
    first = s.apply("Unsqueeze", {first, s.integers({-1})});
    second = s.apply("Unsqueeze", {second, s.integers({-1})});
    turned = s.apply("Reshape", {s.apply("Concat", {first, second}, last_axis), s.integers({0, 0, heads, 2 * pairs})});
  }
  if (2 * pairs != all) turned = s.apply("Concat", {turned, run(2 * pairs, all, 1)}, last_axis);
  s.apply("Reshape", {turned, s.integers({0, 0, heads * all})});
  return s;
}

// sign -1: backwards.
void Rope::turn(const Operands& operands, std::uint64_t width, double sign, std::span<float> numbers) const {
  const std::uint64_t pairs = frequencies.size();
  const std::vector<double>& turns =
      !long_frequencies.empty() && operands.sequence_length() > short_length ? long_frequencies : frequencies;
  const double size = static_cast<double>(magnitude);
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(operands.position + t) * turns[i];
      const double cosine = std::cos(angle), sine = sign * std::sin(angle);
      for (std::uint64_t base = t * width; base < (t + 1) * width; base += head_dim) {
        float& a = numbers[base + (half_split ? i : 2 * i)];
        float& b = numbers[base + (half_split ? i + pairs : 2 * i + 1)];
        const double x = static_cast<double>(a), y = static_cast<double>(b);
        a = static_cast<float>((x * cosine - y * sine) * size);
        b = static_cast<float>((x * sine + y * cosine) * size);
      }
    }
}

void Rope::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  std::ranges::copy(operands.inputs[0], output.begin());
  turn(operands, width_of(inputs[0]), 1, output);
}

// What a turn does is undone by the turn back; what it enlarges, it enlarges in both directions.
void Rope::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                    std::span<const float> output_gradient, const Gradients& into) const {
  if (into.inputs[0].empty()) return;
  std::vector<float> turned(output_gradient.begin(), output_gradient.end());
  turn(operands, width_of(inputs[0]), -1, turned);
  for (std::size_t i = 0; i < turned.size(); ++i) into.inputs[0][i] += turned[i];
}

}  // namespace nibble
