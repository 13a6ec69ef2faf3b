// SPDX-License-Identifier: Apache-2.0
#include "graph/op/embedding.h"

#include <algorithm>

namespace nibble {

Dimensions Embedding::output(std::span<const Dimensions>) const { return token_rows(width); }

std::vector<WeightUse> Embedding::weights(std::span<const Dimensions>) const {
  return {{part, TensorRole::embedding, {vocabulary, width}}};
}

// A factor for each channel would multiply columns, not rows.
std::vector<ScalePassage> Embedding::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Embedding::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Embedding::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Gather", {s.weight(part), s.surrounding(OnnxSurrounding::token_ids)}, {{"axis", std::int64_t{0}}});
  return s;
}

void Embedding::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  const std::span<const float> rows = operands.weight(part);
  for (std::size_t t = 0; t < operands.tokens; ++t)
    std::copy_n(&rows[static_cast<std::size_t>(operands.ids[t]) * width], width, &output[t * width]);
}

void Embedding::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                         const Gradients& into) const {
  const std::span<float> rows = into.weight(part);
  if (rows.empty()) return;
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t i = 0; i < width; ++i)
      rows[static_cast<std::size_t>(operands.ids[t]) * width + i] += output_gradient[t * width + i];
}

}  // namespace nibble
