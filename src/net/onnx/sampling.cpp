// SPDX-License-Identifier: Apache-2.0
//
// Resize, and Upsample as it was called before opset 10.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "net/onnx/node_view.h"

namespace nibble {
namespace {

void set_kind(NodeView& n, const std::string& mode, Resize& op) {
  if (mode == "nearest")
    op.kind = Resize::Kind::nearest;
  else if (mode == "linear" || mode == "bilinear")
    op.kind = Resize::Kind::linear;
  else if (mode == "cubic")
    op.kind = Resize::Kind::cubic;
  else
    n.refuse("a mode that is not known: " + mode);
}

// Extents by rounding down, as the specification has it.
void scale(NodeView& n, const NetValue& x, const std::vector<float>& scales, Resize& op) {
  if (scales.size() != x.rank()) n.damaged("scales of another number of dimensions");
  op.scales = scales;
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const double extent = std::floor(static_cast<double>(x.extent(i)) * static_cast<double>(scales[i]));
    if (!(extent >= 1 && extent <= static_cast<double>(kMostNumbers)))
      n.damaged("scales that leave nothing, or too much");
    op.extents.push_back(static_cast<std::uint64_t>(extent));
  }
}

void set_places(NodeView& n, Resize& op) {
  const std::string places = n.text("coordinate_transformation_mode", "half_pixel");
  if (places == "half_pixel")
    op.places = Resize::Places::half_pixel;
  else if (places == "pytorch_half_pixel")
    op.places = Resize::Places::half_pixel_or_zero;
  else if (places == "align_corners")
    op.places = Resize::Places::align_corners;
  else if (places == "asymmetric")
    op.places = Resize::Places::asymmetric;
  else
    n.refuse("places that are not known: " + places);
  const std::string rounding = n.text("nearest_mode", "round_prefer_floor");
  if (rounding == "round_prefer_floor")
    op.rounding = Resize::Rounding::down_at_half;
  else if (rounding == "round_prefer_ceil")
    op.rounding = Resize::Rounding::up_at_half;
  else if (rounding == "floor")
    op.rounding = Resize::Rounding::down;
  else if (rounding == "ceil")
    op.rounding = Resize::Rounding::up;
  else
    n.damaged("a rounding that is not known: " + rounding);
  op.cubic = n.number("cubic_coeff_a", -0.75F);
  op.leaves_out_outside = n.flag("exclude_outside");
}

void upsample(NodeView& n) {
  const NetValue& x = n.in(0);
  Resize op;
  set_kind(n, n.text("mode", "nearest"), op);
  op.places = Resize::Places::asymmetric;
  op.rounding = Resize::Rounding::down;
  const auto said = n.floats("scales");
  scale(n, x, said ? *said : n.numbers(1), op);
  n.out(n.pen().apply(std::move(op), {x}));
}

void resize(NodeView& n) {
  if (n.opset() < 11) return upsample(n);
  const NetValue& x = n.in(0);
  Resize op;
  set_kind(n, n.text("mode", "nearest"), op);
  set_places(n, op);
  if (n.flag("antialias")) n.refuse("antialias");
  std::vector<std::uint64_t> axes(x.rank());
  std::iota(axes.begin(), axes.end(), 0u);
  if (const auto said = n.wholes("axes")) {
    axes.clear();
    for (const std::int64_t one : *said) axes.push_back(n.axis(one, x.rank()));
  }
  const bool has_scales = n.has(2) && nibble::numbers_of(n.in(2).shape) != 0;
  if (has_scales) {
    const std::vector<float> said = n.numbers(2);
    if (said.size() != axes.size()) n.damaged("scales of another number of dimensions");
    std::vector<float> scales(x.rank(), 1);
    for (std::size_t i = 0; i < axes.size(); ++i) scales[axes[i]] = said[i];
    scale(n, x, scales, op);
    return n.out(n.pen().apply(std::move(op), {x}));
  }
  const std::vector<std::int64_t> sizes = n.whole_numbers(3);
  const std::string policy = n.text("keep_aspect_ratio_policy", "stretch");
  if (sizes.size() != axes.size()) n.damaged("sizes of another number of dimensions");
  op.extents = x.extents();
  op.scales.assign(x.rank(), 1);
  std::vector<double> scales;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (sizes[i] < 1 || sizes[i] > static_cast<std::int64_t>(kMostNumbers) || x.extent(axes[i]) == 0)
      n.damaged("sizes that leave nothing");
    scales.push_back(static_cast<double>(sizes[i]) / static_cast<double>(x.extent(axes[i])));
  }
  const auto bounds = std::ranges::minmax_element(scales);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    std::uint64_t& extent = op.extents[axes[i]];
    double one = scales[i];
    if (policy == "stretch") {
      extent = static_cast<std::uint64_t>(sizes[i]);
    } else {
      one = policy == "not_larger" ? *bounds.min : *bounds.max;
      extent = static_cast<std::uint64_t>(std::floor(one * static_cast<double>(extent) + 0.5));
    }
    op.scales[axes[i]] = static_cast<float>(one);
  }
  n.out(n.pen().apply(std::move(op), {x}));
}

constexpr OnnxConverter kConverters[] = {{"Resize", resize}, {"Upsample", upsample}};

}  // namespace

std::span<const OnnxConverter> sampling_converters() { return kConverters; }

}  // namespace nibble
