// SPDX-License-Identifier: Apache-2.0
//
// A grid of an IQ type, made searchable: as pairs of half points for the nearest point (iq_search.h), as a tree with
// one level of branches per coordinate for the nearest point in a full metric. Exact: the point found has the smallest
// error there is. Immutable, safe for many threads.
//
//   const Codebook& book = iq2_xxs_codebook();
//   Choice choice = book.nearest(target, weights, Signs::even);       // min over points and signs of sum w (target -
//   sign * point)^2 book.value(choice.index, point);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

inline constexpr std::size_t kMaxUnit = 8, kMaxLevels = 8;

// What signs a unit may carry beside its point: none (the grid has its own), any, or an even or odd number of minus
// signs.
enum class Signs { none, any, even, odd };

class Codebook {
 public:
  struct Choice {
    float error = 0;
    std::uint32_t index = 0;
    std::uint32_t negative = 0;  // bit j: coordinate j has a minus sign
  };

  // grid: one number per point, coordinate j's level at bits j * (16 / dimensions or fewer), as in iq_grids.h.
  Codebook(std::span<const std::uint16_t> grid, std::span<const float> levels, std::size_t dimensions);

  std::size_t dimensions() const noexcept { return dimensions_; }
  std::size_t num_points() const noexcept { return points_.size() / dimensions_; }
  // The coordinates of a point, [dimensions].
  const float* point(std::size_t index) const noexcept { return points_.data() + index * dimensions_; }

  // The point nearest to target[dimensions] by sum of weights[j] * (target[j] - point[j] - shift)^2. weights:
  // non-negative, null for ones. shift is added to every coordinate of the points (IQ1).
  Choice nearest(const float* target, const float* weights, Signs signs, float shift = 0) const;

  // The grid as pairs of half points (iq_search.h). A half point's slot counts its levels, the first coordinate's
  // fastest: three levels in rows of sixteen slots of which the first two coordinates fill nine; eight levels without
  // gaps.
  struct Halves {
    std::size_t slots = 0;
    std::vector<float> missing[2];  // [slots]: 0 for halves that some point has, else infinity
    std::vector<std::uint16_t>
        partners;  // [slots][slots / 16]: bit s of entry r: the grid has the pair with second half 16 r + s
    std::vector<std::uint16_t> index;  // [slots][slots]: the point; kNone
  };
  static constexpr std::uint16_t kNone = 0xffff;
  const Halves& halves() const noexcept { return halves_; }
  std::size_t num_levels() const noexcept { return num_levels_; }
  const float* levels() const noexcept { return levels_; }
  const float* boundaries() const noexcept { return boundaries_; }  // [num_levels - 1], between neighbours

 private:
  friend class MetricSearch;
  void halve(std::span<const std::uint16_t> grid, unsigned bits);

  std::size_t dimensions_, num_levels_;
  float levels_[kMaxLevels] = {}, boundaries_[kMaxLevels] = {};  // boundaries_[l] lies between levels l and l + 1
  std::vector<float> points_;
  std::vector<std::uint16_t>
      children_;  // [node][level]: the next node, below the last coordinate the point's index; kNone
  Halves halves_;
};

// A metric [size, size] = lower' lower from the last row up, with a little added to a diagonal that may be singular. Of
// `lower` only what is not above its diagonal is written.
using MetricFactor = double[kMaxUnit][kMaxUnit];
void factor_metric(const float* metric, std::size_t size, MetricFactor& lower);

// The nearest unit of `books` points side by side (1, or 2 for IQ3_XXS) under a full metric [n x n], n = books *
// dimensions, positive semi-definite, row-major: minimises e' M e with e = target - unit. Exact up to rounding unless
// more than some 10^5 branches would have to be looked at, then the best of those.
struct MetricChoice {
  float error = 0;
  std::uint32_t index[2] = {0, 0};
  std::uint32_t negative = 0;
};
MetricChoice nearest_in_metric(const Codebook& book, std::size_t books, const float* target, const float* metric,
                               Signs signs, float shift = 0);

// Built when first asked for.
const Codebook& iq2_xxs_codebook();
const Codebook& iq2_xs_codebook();
const Codebook& iq2_s_codebook();
const Codebook& iq3_xxs_codebook();
const Codebook& iq3_s_codebook();
const Codebook& iq1_codebook();

}  // namespace nibble
