// SPDX-License-Identifier: Apache-2.0
#include "graph/op/dequantize.h"

#include "graph/extents.h"
#include "graph/op/scale_walk.h"

namespace nibble {

Dimensions Dequantize::output(std::span<const Dimensions> inputs) const {
  require_scales(inputs, axis, kName);
  return inputs[0];
}

std::vector<WeightUse> Dequantize::weights(std::span<const Dimensions>) const { return {}; }

// The scale, which is a value, would have to take it.
std::vector<ScalePassage> Dequantize::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Dequantize::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling Dequantize::onnx(std::span<const Dimensions> inputs) const {
  OnnxSpelling s;
  OnnxOperand scale = s.input(1), zero = s.input(2);
  if (numbers_of(inputs[1]) > 1 && axis + 1 < inputs[0].size()) {
    std::vector<std::int64_t> shape(inputs[0].size() - axis, 1);
    shape[0] = -1;
    scale = s.apply("Reshape", {scale, s.integers(shape)});
    zero = s.apply("Reshape", {zero, s.integers(shape)});
  }
  s.apply("Mul", {s.apply("Sub", {s.input(0), zero}), scale});
  return s;
}

void Dequantize::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const ScaleWalk walk(inputs, axis);
  for (std::size_t i = 0; i < output.size(); ++i) {
    const std::size_t at = walk.place(i);
    output[i] = (operands.inputs[0][i] - operands.inputs[2][at]) * operands.inputs[1][at];
  }
}

}  // namespace nibble
