// SPDX-License-Identifier: Apache-2.0
#include "graph/op/constant.h"

#include <algorithm>

#include "graph/extents.h"

namespace nibble {

Dimensions Constant::output(std::span<const Dimensions>) const { return shape; }

std::vector<WeightUse> Constant::weights(std::span<const Dimensions>) const {
  return {{part, TensorRole::exact, extents_of(shape)}};
}

// There is nothing before it.
std::vector<ScalePassage> Constant::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Constant::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Constant::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Identity", {s.weight(part)});
  return s;
}

void Constant::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  std::ranges::copy(operands.weight(part), output.begin());
}

}  // namespace nibble
