// SPDX-License-Identifier: Apache-2.0
#include "quantize/transform/transform.h"

#include <array>
#include <string>

#include "nibble/error.h"
#include "quantize/transform/scaling.h"

namespace nibble {
namespace {

constexpr std::array kTransforms = {
    kNoTransform,
    Transform{.name = "awq",
              .description = "scales of active columns by grid search on the outputs' error",
              .rule = Transform::Rule::awq,
              .needs = Needs::second_moment},
    Transform{.name = "smoothquant",
              .description = "activation ranges moved into the weights by a power alpha",
              .rule = Transform::Rule::smoothquant,
              .needs = Needs::mean_square},
    Transform{.name = "hadamard",
              .description = "inputs rotated in blocks, weights for them, while the model runs",
              .rule = Transform::Rule::hadamard},
    Transform{.name = "hadamard:fold",
              .description = "the same of the stream and of attention's values, for good, in the weights on both sides",
              .rule = Transform::Rule::hadamard_folded},
    Transform{.name = "hadamard:both",
              .description = "for good where that is exact, elsewhere while the model runs",
              .rule = Transform::Rule::hadamard_both},
};

}  // namespace

std::span<const Transform> list_transforms() { return kTransforms; }

Transform find_transform(std::string_view name) {
  std::string known;
  for (const Transform& transform : kTransforms) {
    if (transform.name == name) return transform;
    known += (known.empty() ? "" : ", ") + std::string(transform.name);
  }
  throw Error(ErrorKind::invalid_argument, "unknown transform '" + std::string(name) + "'; known are " + known);
}

std::vector<float> choose_scales(const Transform& transform, const ScaleRequest& request, Machine& machine) {
  switch (transform.rule) {
    case Transform::Rule::awq:
      return awq_scales(request, machine);
    case Transform::Rule::smoothquant:
      return smoothquant_scales(request, transform.alpha);
    case Transform::Rule::hadamard:
    case Transform::Rule::hadamard_folded:
    case Transform::Rule::hadamard_both:
    case Transform::Rule::none:
      break;
  }
  return std::vector<float>(request.site->width(), 1.0F);
}

SiteStatistics rescaled(SiteStatistics site, std::span<const float> scales) {
  const std::size_t n = site.width();
  for (std::size_t i = 0; i < n; ++i) {
    const float inverse = 1 / scales[i];
    site.mean_square[i] *= inverse * inverse;
    if (!site.absmax.empty()) site.absmax[i] *= inverse;
    if (site.has_second_moment())
      for (std::size_t j = 0; j < n; ++j) site.second_moment[i * n + j] *= inverse / scales[j];
  }
  site.histogram.clear();
  site.negatives.clear();
  return site;
}

}  // namespace nibble
