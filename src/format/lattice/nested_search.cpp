// SPDX-License-Identifier: Apache-2.0
#include "format/lattice/nested_search.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "format/family/iq_codebook.h"
#include "format/lattice/nested_points.h"

namespace nibble {
namespace {

using Vector = std::array<double, kLatticeCols>;

// The shortest points of E8 but 0, in halves: from any point, the steps to its neighbours.
std::vector<LatticeVector> make_steps() {
  std::vector<LatticeVector> steps;
  for (std::size_t i = 0; i < kLatticeCols; ++i)
    for (std::size_t j = i + 1; j < kLatticeCols; ++j)
      for (const std::int32_t first : {-2, 2})
        for (const std::int32_t second : {-2, 2}) {
          LatticeVector step{};
          step[i] = first;
          step[j] = second;
          steps.push_back(step);
        }
  for (unsigned negative = 0; negative < 256; ++negative) {
    LatticeVector step;
    for (std::size_t j = 0; j < kLatticeCols; ++j) step[j] = (negative >> j & 1u) != 0 ? -1 : 1;
    if (std::popcount(negative) % 2 == 0) steps.push_back(step);
  }
  return steps;
}

const std::vector<LatticeVector>& steps() {
  static const std::vector<LatticeVector> made = make_steps();
  return made;
}

// The point of E8 nearest by plain squares: that of even numbers or that of odd ones, of which the number farthest from
// what is wanted goes to the other side where the sum asks for it (Conway and Sloane 1982).
LatticeVector nearest_plainly(const Vector& wanted) {
  LatticeVector best{};
  double least = std::numeric_limits<double>::infinity();
  for (const std::int32_t parity : {0, 1}) {
    LatticeVector point;
    std::int32_t sum = 0;
    std::size_t farthest = 0;
    double error = 0, distance = -1, side = 0;
    for (std::size_t j = 0; j < kLatticeCols; ++j) {
      point[j] = 2 * static_cast<std::int32_t>(std::lround((wanted[j] - parity) / 2)) + parity;
      sum += point[j];
      const double difference = wanted[j] - point[j];
      error += difference * difference;
      if (std::fabs(difference) <= distance) continue;
      distance = std::fabs(difference);
      side = difference < 0 ? -2 : 2;
      farthest = j;
    }
    if (sum % 4 != 0) {
      point[farthest] += static_cast<std::int32_t>(side);
      error += 4 - 4 * distance;
    }
    if (error < least) {
      least = error;
      best = point;
    }
  }
  return best;
}

class NestedSearch {
 public:
  NestedSearch(std::size_t num_refinements, const float* target, const float* metric)
      : num_refinements_(num_refinements), origin_(nested_origin(num_refinements)) {
    for (std::size_t j = 0; j < kLatticeCols; ++j) wanted_[j] = static_cast<double>(target[j]) - origin_[j];
    if (metric != nullptr) {
      factor_metric(metric, kLatticeCols, lower_);
    } else {
      for (std::size_t j = 0; j < kLatticeCols; ++j) lower_[j][j] = 1;
    }
  }

  Code run() {
    look_through();
    if (const auto code = nested_code(best_, num_refinements_)) return *code;
    find_one_within();
    is_bounded_ = true;
    branches_left_ = kMostBranchesBeyond;
    look_through();
    return nested_code(best_, num_refinements_).value();
  }

 private:
  // For the nearest point, of metrics that are nearly singular; and beyond the points, where more find hardly anything.
  static constexpr int kMostBranches = 100000, kMostBranchesBeyond = 2000;

  double error_of(const LatticeVector& point) const {
    double sum = 0;
    for (std::size_t i = 0; i < kLatticeCols; ++i) {
      double row = 0;
      for (std::size_t j = 0; j <= i; ++j) row += lower_[i][j] * (wanted_[j] - point[j]);
      sum += row * row;
    }
    return sum;
  }

  // The target drawn to the middle until the point there has a code, then neighbour after neighbour while that helps.
  void find_one_within() {
    constexpr double kStep = 0.97;
    for (double part = kStep;; part *= kStep) {
      Vector drawn;
      for (std::size_t j = 0; j < kLatticeCols; ++j) drawn[j] = (wanted_[j] + origin_[j]) * part - origin_[j];
      best_ = nearest_plainly(drawn);
      if (nested_code(best_, num_refinements_)) break;
    }
    limit_ = error_of(best_);
    while (step_nearer()) {
    }
  }

  bool step_nearer() {
    // (e - s)' M (e - s) = e' M e + |L s|^2 - 2 (L e) (L s)
    Vector own{};
    for (std::size_t i = 0; i < kLatticeCols; ++i)
      for (std::size_t j = 0; j <= i; ++j) own[i] += lower_[i][j] * (wanted_[j] - best_[j]);
    LatticeVector next = best_;
    double least = limit_ * (1 - 1e-9);
    for (const LatticeVector& step : steps()) {
      double error = 0;
      for (std::size_t i = 0; i < kLatticeCols; ++i) {
        double row = own[i];
        for (std::size_t j = 0; j <= i; ++j) row -= lower_[i][j] * step[j];
        error += row * row;
      }
      if (error >= least) continue;
      LatticeVector other = best_;
      for (std::size_t j = 0; j < kLatticeCols; ++j) other[j] += step[j];
      if (!nested_code(other, num_refinements_)) continue;
      least = error;
      next = other;
    }
    if (next == best_) return false;
    best_ = next;
    limit_ = least;
    return true;
  }

  // Enumeration as of codebooks (MetricSearch), of numbers that are even or odd and have a sum.
  void look_through() {
    for (const std::int32_t parity : {0, 1}) descend(0, parity, 0, 0, 0);
  }

  void descend(std::size_t depth, std::int32_t parity, std::int32_t sum, double squares, double error) {
    if (depth == kLatticeCols) {
      if (is_bounded_ && !nested_code(point_, num_refinements_)) return;
      limit_ = error;
      best_ = point_;
      return;
    }
    double before = 0;
    for (std::size_t j = 0; j < depth; ++j) before += lower_[depth][j] * (wanted_[j] - point_[j]);
    const double own = lower_[depth][depth], middle = wanted_[depth] + (own > 0 ? before / own : 0);
    const bool is_last = depth + 1 == kLatticeCols;
    const std::int32_t apart = is_last ? 4 : 2, offset = is_last ? -sum : parity;
    const auto nearest =
        static_cast<std::int32_t>(std::lround((std::clamp(middle, -kReach, kReach) - offset) / apart)) * apart + offset;
    const std::int32_t side = middle < nearest ? -apart : apart;
    // From the middle outwards: one side, the other, and so on.
    for (std::int32_t i = 0;; ++i) {
      const std::int32_t number = nearest + (i % 2 != 0 ? (i + 1) / 2 : -i / 2) * side;
      const double difference = own * (middle - number), reached = error + difference * difference;
      if (!(reached < limit_)) return;
      if (--branches_left_ < 0 && limit_ < kNone) return;
      if (i > kMostOfOne) return;
      const double value = number + origin_[depth], length = squares + value * value;
      if (is_bounded_ && length > longest()) continue;
      point_[depth] = number;
      descend(depth + 1, parity, sum + number, length, reached);
    }
  }

  static constexpr double kNone = std::numeric_limits<double>::infinity();
  // Beyond which no column can be, and how many numbers of a column are tried that cost nothing.
  static constexpr double kReach = 4000;
  static constexpr std::int32_t kMostOfOne = 64;

  // The squares of values, of which E8P's are at most 272.
  double longest() const { return num_refinements_ == 1 ? 21.0 * 21.0 : 46.0 * 46.0; }

  const std::size_t num_refinements_;
  const LatticeVector origin_;
  Vector wanted_;
  MetricFactor lower_ = {};
  double limit_ = kNone;
  LatticeVector point_{}, best_{};
  bool is_bounded_ = false;
  int branches_left_ = kMostBranches;
};

}  // namespace

Code nearest_nested(std::size_t num_refinements, const float* target, const float* metric) {
  return NestedSearch(num_refinements, target, metric).run();
}

}  // namespace nibble
