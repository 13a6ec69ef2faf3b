// SPDX-License-Identifier: Apache-2.0
#include "graph/op/concat.h"

#include <algorithm>

#include "graph/extents.h"

namespace nibble {

Dimensions Concat::output(std::span<const Dimensions> inputs) const {
  require_drawable(!inputs.empty() && axis < inputs[0].size(), kName, "a dimension that is not there");
  Dimensions shape = inputs[0];
  for (const Dimensions& value : inputs.subspan(1)) {
    require_drawable(value.size() == shape.size(), kName, "values of other numbers of dimensions");
    for (std::size_t i = 0; i < shape.size(); ++i)
      require_drawable(i == axis || value[i].extent == shape[i].extent, kName, "values whose shapes do not fit");
    shape[axis].extent += value[axis].extent;
  }
  return shape;
}

std::vector<WeightUse> Concat::weights(std::span<const Dimensions>) const { return {}; }

// Channels may come from any of its inputs.
std::vector<ScalePassage> Concat::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Concat::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Concat::onnx(std::span<const Dimensions> inputs) const {
  OnnxSpelling s;
  std::vector<OnnxOperand> operands;
  for (std::size_t i = 0; i < inputs.size(); ++i) operands.push_back(s.input(i));
  s.apply("Concat", std::move(operands), {{"axis", static_cast<std::int64_t>(axis)}});
  return s;
}

void Concat::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const auto length_of = [&](const Dimensions& value) {
    const Extents extents = extents_of(value);
    return static_cast<std::size_t>(numbers_of(std::span(extents).subspan(axis)));
  };
  const std::size_t whole = length_of(this->output(inputs));
  if (output.empty()) return;
  std::size_t at = 0;
  for (std::size_t n = 0; n < inputs.size(); at += length_of(inputs[n++]))
    for (std::size_t i = 0; i < output.size() / whole; ++i)
      std::ranges::copy_n(operands.inputs[n].data() + i * length_of(inputs[n]),
                          static_cast<std::ptrdiff_t>(length_of(inputs[n])), output.data() + i * whole + at);
}

}  // namespace nibble
