// SPDX-License-Identifier: Apache-2.0
#include "graph/op/quantize.h"

#include <algorithm>
#include <cmath>

#include "graph/extents.h"
#include "graph/op/scale_walk.h"

namespace nibble {

Dimensions Quantize::output(std::span<const Dimensions> inputs) const {
  require_scales(inputs, axis, kName);
  return inputs[0];
}

std::vector<WeightUse> Quantize::weights(std::span<const Dimensions>) const { return {}; }

// Codes are rounded.
std::vector<ScalePassage> Quantize::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Quantize::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling Quantize::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  struct Codes {
    std::int32_t low, high;
    std::int64_t type;
  };
  for (const auto& [least, most, type] : {Codes{0, 255, 2}, {-128, 127, 3}, {0, 65535, 4}, {-32768, 32767, 5}})
    if (low == least && high == most) {
      const auto zero = s.apply("Cast", {s.input(2)}, {{"to", type}});
      const auto codes =
          s.apply("QuantizeLinear", {s.input(0), s.input(1), zero}, {{"axis", static_cast<std::int64_t>(axis)}});
      s.apply("Cast", {codes}, {{"to", std::int64_t{1}}});
      return s;
    }
  s.refuse("codes of this range have no type of their own there");
  return s;
}

void Quantize::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const ScaleWalk walk(inputs, axis);
  const auto lowest = static_cast<float>(low), highest = static_cast<float>(high);
  for (std::size_t i = 0; i < output.size(); ++i) {
    const std::size_t at = walk.place(i);
    const float code = std::nearbyint(operands.inputs[0][i] / operands.inputs[1][at]) + operands.inputs[2][at];
    output[i] = std::isnan(code) ? operands.inputs[2][at] : std::min(std::max(code, lowest), highest);
  }
}

}  // namespace nibble
