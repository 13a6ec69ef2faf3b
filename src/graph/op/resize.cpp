// SPDX-License-Identifier: Apache-2.0
#include "graph/op/resize.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "graph/extents.h"

namespace nibble {
namespace {

struct Term {
  std::size_t place;
  double weight;
};

double place_of(const Resize& op, std::size_t dimension, double i, double n, double m) {
  const auto scale = static_cast<double>(op.scales[dimension]);
  switch (op.places) {
    case Resize::Places::half_pixel:
      return (i + 0.5) / scale - 0.5;
    case Resize::Places::half_pixel_or_zero:
      return m > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case Resize::Places::align_corners:
      return m > 1 ? i * (n - 1) / (n * scale - 1) : 0;
    case Resize::Places::asymmetric:
      return i / scale;
  }
  return i;
}

double nearest(Resize::Rounding rounding, double place) {
  switch (rounding) {
    case Resize::Rounding::down_at_half:
      return std::ceil(place - 0.5);
    case Resize::Rounding::up_at_half:
      return std::floor(place + 0.5);
    case Resize::Rounding::down:
      return std::floor(place);
    case Resize::Rounding::up:
      return std::ceil(place);
  }
  return place;
}

// Keys 1981: of four neighbours, the third nearest before, ...
std::array<double, 4> cubic_weights(double rest, double a) {
  const auto near = [&](double t) { return ((a + 2) * t - (a + 3)) * t * t + 1; };
  const auto far = [&](double t) { return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a; };
  return {far(rest + 1), near(rest), near(1 - rest), far(2 - rest)};
}

// Of each place of the result, what is summed.
std::vector<std::vector<Term>> terms_of(const Resize& op, std::size_t dimension, std::uint64_t extent) {
  const double n = static_cast<double>(extent), m = static_cast<double>(op.extents[dimension]);
  std::vector<std::vector<Term>> terms;
  for (std::uint64_t i = 0; i < op.extents[dimension]; ++i) {
    const double place = place_of(op, dimension, static_cast<double>(i), n, m);
    double first = std::floor(place);
    std::vector<double> weights;
    if (op.kind == Resize::Kind::nearest) {
      first = nearest(op.rounding, place);
      weights = {1};
    } else if (op.kind == Resize::Kind::linear) {
      weights = {1 - (place - first), place - first};
    } else {
      const std::array<double, 4> four = cubic_weights(place - first, static_cast<double>(op.cubic));
      weights.assign(four.begin(), four.end());
      first -= 1;
    }
    double sum = 0;
    std::vector<Term>& list = terms.emplace_back();
    for (std::size_t t = 0; t < weights.size(); ++t) {
      const double at = first + static_cast<double>(t);
      const bool is_outside = at < 0 || at >= n;
      if (is_outside && op.leaves_out_outside) continue;
      list.push_back({static_cast<std::size_t>(std::min(std::max(at, 0.0), n - 1)), weights[t]});
      sum += weights[t];
    }
    if (op.leaves_out_outside && sum != 0)
      for (Term& term : list) term.weight /= sum;
  }
  return terms;
}

}  // namespace

Dimensions Resize::output(std::span<const Dimensions> inputs) const {
  const Dimensions& x = inputs[0];
  require_drawable(extents.size() == x.size() && scales.size() == x.size(), kName,
                   "dimensions of which not all is said");
  for (std::size_t i = 0; i < x.size(); ++i) {
    require_drawable(x[i].extent > 0, kName, "an input without numbers");
    require_drawable(std::isfinite(scales[i]) && scales[i] > 0, kName, "a scale that is not positive");
  }
  return with_extents(x, extents);
}

std::vector<WeightUse> Resize::weights(std::span<const Dimensions>) const { return {}; }

// The places that are mixed are the same for all channels, but channels may be resized, too.
std::vector<ScalePassage> Resize::scale_passages(std::span<const Dimensions>) const { return {}; }

// Of up to four neighbours along each dimension.
Cost Resize::cost(std::span<const Dimensions>) const { return {.whole = numbers_of(extents) * 4 * extents.size()}; }

OnnxSpelling Resize::onnx(std::span<const Dimensions> inputs) const {
  OnnxSpelling s;
  for (std::size_t i = 0; i < extents.size(); ++i)
    if (static_cast<float>(extents[i]) != scales[i] * static_cast<float>(inputs[0][i].extent))
      s.refuse("a scale that is not the quotient of the extents");
  if (!s.refusal.empty()) return s;
  constexpr const char* kModes[] = {"nearest", "linear", "cubic"};
  constexpr const char* kPlaces[] = {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"};
  constexpr const char* kRoundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  s.apply("Resize", {s.input(0), s.none(), s.none(), s.integers({extents.begin(), extents.end()})},
          {{"mode", std::string(kModes[static_cast<std::size_t>(kind)])},
           {"coordinate_transformation_mode", std::string(kPlaces[static_cast<std::size_t>(places)])},
           {"nearest_mode", std::string(kRoundings[static_cast<std::size_t>(rounding)])},
           {"cubic_coeff_a", cubic},
           {"exclude_outside", static_cast<std::int64_t>(leaves_out_outside)}});
  return s;
}

void Resize::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  Extents shape = extents_of(inputs[0]);
  std::vector<double> numbers(operands.inputs[0].begin(), operands.inputs[0].end());
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (extents[d] == shape[d] && scales[d] == 1) continue;
    const std::vector<std::vector<Term>> taps = terms_of(*this, d, shape[d]);
    const std::size_t count = shape[d], step = static_cast<std::size_t>(row_major(shape)[d]);
    shape[d] = extents[d];
    std::vector<double> made(numbers_of(shape));
    for (std::size_t i = 0; i < made.size(); ++i) {
      const double* const from = &numbers[i / (step * taps.size()) * step * count + i % step];
      double sum = 0;
      for (const Term& term : taps[i / step % taps.size()]) sum += term.weight * from[term.place * step];
      made[i] = sum;
    }
    numbers = std::move(made);
  }
  std::ranges::transform(numbers, output.begin(), [](double y) { return static_cast<float>(y); });
}

}  // namespace nibble
