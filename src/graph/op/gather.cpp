// SPDX-License-Identifier: Apache-2.0
#include "graph/op/gather.h"

#include <algorithm>
#include <limits>

#include "graph/extents.h"

namespace nibble {

Dimensions Gather::output(std::span<const Dimensions> inputs) const {
  require_drawable(axis < inputs[0].size(), kName, "a dimension that is not there");
  Extents extents = extents_of(inputs[0]);
  const Extents places = extents_of(inputs[1]);
  const auto at = extents.erase(extents.begin() + static_cast<std::ptrdiff_t>(axis));
  extents.insert(at, places.begin(), places.end());
  return named(extents);
}

std::vector<WeightUse> Gather::weights(std::span<const Dimensions>) const { return {}; }

// Channels may be taken several times.
std::vector<ScalePassage> Gather::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Gather::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Gather::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Gather", {s.input(0), s.apply("Cast", {s.input(1)}, {{"to", std::int64_t{7}}})},
          {{"axis", static_cast<std::int64_t>(axis)}});
  return s;
}

void Gather::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Extents extents = extents_of(inputs[0]);
  const std::size_t count = extents[axis], length = static_cast<std::size_t>(row_major(extents)[axis]);
  const std::size_t num_places = operands.inputs[1].size();
  if (output.empty()) return;
  for (std::size_t i = 0; i < output.size() / length; ++i) {
    const double wanted = static_cast<double>(operands.inputs[1][i % num_places]);
    const double place = wanted < 0 ? wanted + static_cast<double>(count) : wanted;
    float* const to = output.data() + i * length;
    if (!(place >= 0 && place < static_cast<double>(count)))
      std::fill_n(to, length, std::numeric_limits<float>::quiet_NaN());
    else
      std::copy_n(operands.inputs[0].data() + (i / num_places * count + static_cast<std::size_t>(place)) * length,
                  length, to);
  }
}

}  // namespace nibble
