// SPDX-License-Identifier: Apache-2.0
#include "graph/op/strided_slice.h"

#include "graph/extents.h"

namespace nibble {

Dimensions StridedSlice::output(std::span<const Dimensions> inputs) const {
  const Dimensions& x = inputs[0];
  require_drawable(begin.size() == x.size() && count.size() == x.size() && step.size() == x.size(), kName,
                   "dimensions of which not all is said");
  Dimensions shape = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    shape[i].extent = count[i];
    if (count[i] == 0) continue;
    require_drawable(step[i] != 0 && begin[i] < x[i].extent && count[i] <= x[i].extent, kName,
                     "numbers that are not there");
    const std::uint64_t stride = static_cast<std::uint64_t>(step[i] < 0 ? -step[i] : step[i]);
    const std::uint64_t room = step[i] < 0 ? begin[i] : x[i].extent - 1 - begin[i];
    require_drawable(count[i] == 1 || stride <= room / (count[i] - 1), kName, "numbers that are not there");
  }
  return shape;
}

std::vector<WeightUse> StridedSlice::weights(std::span<const Dimensions>) const { return {}; }

// Channels that are left out have no factor.
std::vector<ScalePassage> StridedSlice::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost StridedSlice::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling StridedSlice::onnx(std::span<const Dimensions> inputs) const {
  OnnxSpelling s;
  std::vector<std::int64_t> first, end, axes;
  for (std::size_t i = 0; i < begin.size(); ++i) {
    first.push_back(static_cast<std::int64_t>(begin[i]));
    end.push_back(first.back() + static_cast<std::int64_t>(count[i]) * step[i]);
    if (end.back() < 0) end.back() = -static_cast<std::int64_t>(inputs[0][i].extent) - 1;
    axes.push_back(static_cast<std::int64_t>(i));
  }
  s.apply("Slice", {s.input(0), s.integers(first), s.integers(end), s.integers(axes), s.integers(step)});
  return s;
}

void StridedSlice::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                            std::span<float> output) const {
  const Dimensions shape = this->output(inputs);
  const std::vector<std::ptrdiff_t> own = row_major(extents_of(inputs[0]));
  Strided x;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    x.strides.push_back(own[i] * static_cast<std::ptrdiff_t>(step[i]));
    x.base += own[i] * static_cast<std::ptrdiff_t>(begin[i]);
  }
  if (output.empty()) return;
  const std::size_t length = shape.empty() ? 1 : static_cast<std::size_t>(shape.back().extent);
  const std::ptrdiff_t last = shape.empty() ? 0 : x.strides.back();
  for_each_row<1>(extents_of(shape), {x}, [&](std::size_t out, std::array<std::size_t, 1> at) {
    const float* const from = operands.inputs[0].data() + at[0];
    for (std::size_t i = 0; i < length; ++i) output[out + i] = from[static_cast<std::ptrdiff_t>(i) * last];
  });
}

}  // namespace nibble
