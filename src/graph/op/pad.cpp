// SPDX-License-Identifier: Apache-2.0
#include "graph/op/pad.h"

#include "graph/extents.h"

namespace nibble {
namespace {

std::vector<std::ptrdiff_t> sources_of(Pad::Kind kind, std::uint64_t extent, std::uint64_t made, std::uint64_t before,
                                       std::ptrdiff_t stride) {
  const auto n = static_cast<std::ptrdiff_t>(extent);
  std::vector<std::ptrdiff_t> sources;
  for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(made); ++i) {
    std::ptrdiff_t at = i - static_cast<std::ptrdiff_t>(before);
    if (at < 0 || at >= n) {
      if (kind == Pad::Kind::constant) {
        sources.push_back(-1);
        continue;
      }
      if (kind == Pad::Kind::edge) at = at < 0 ? 0 : n - 1;
      if (kind == Pad::Kind::wrap) at = (at % n + n) % n;
      if (kind == Pad::Kind::reflect) {
        const std::ptrdiff_t period = n == 1 ? 1 : 2 * (n - 1);
        at = (at % period + period) % period;
        if (at >= n) at = period - at;
      }
    }
    sources.push_back(at * stride);
  }
  return sources;
}

}  // namespace

Dimensions Pad::output(std::span<const Dimensions> inputs) const {
  const Dimensions& x = inputs[0];
  require_drawable(before.size() == x.size() && behind.size() == x.size(), kName,
                   "dimensions of which not all is said");
  Dimensions shape = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    require_drawable(before[i] <= kMostNumbers && behind[i] <= kMostNumbers, kName, "pads that are too large");
    require_drawable(x[i].extent > 0 || kind == Kind::constant || before[i] + behind[i] == 0, kName,
                     "nothing to go on from");
    shape[i].extent += before[i] + behind[i];
  }
  return shape;
}

std::vector<WeightUse> Pad::weights(std::span<const Dimensions>) const { return {}; }

// Numbers of its own are among those that it makes.
std::vector<ScalePassage> Pad::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Pad::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Pad::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  std::vector<std::int64_t> pads(before.begin(), before.end());
  pads.insert(pads.end(), behind.begin(), behind.end());
  constexpr const char* kModes[] = {"constant", "reflect", "edge", "wrap"};
  std::vector<OnnxOperand> operands = {s.input(0), s.integers(pads)};
  if (kind == Kind::constant) operands.push_back(s.number(value));
  s.apply("Pad", std::move(operands), {{"mode", std::string(kModes[static_cast<std::size_t>(kind)])}});
  return s;
}

void Pad::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Extents extents = extents_of(inputs[0]), made = extents_of(this->output(inputs));
  const std::vector<std::ptrdiff_t> strides = row_major(extents);
  // By dimension, where each place of the result comes from; negative: nowhere.
  std::vector<std::vector<std::ptrdiff_t>> sources;
  for (std::size_t d = 0; d < extents.size(); ++d)
    sources.push_back(sources_of(kind, extents[d], made[d], before[d], strides[d]));
  std::vector<std::uint64_t> index(made.size(), 0);
  for (float& y : output) {
    std::ptrdiff_t at = 0;
    for (std::size_t d = 0; d < made.size() && at >= 0; ++d)
      at = sources[d][index[d]] < 0 ? -1 : at + sources[d][index[d]];
    y = at < 0 ? value : operands.inputs[0][static_cast<std::size_t>(at)];
    for (std::size_t d = made.size(); d-- > 0;) {
      if (++index[d] < made[d]) break;
      index[d] = 0;
    }
  }
}

}  // namespace nibble
