// SPDX-License-Identifier: Apache-2.0
#include "format/lattice/nested_points.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace nibble {
namespace {

// The class of a point by its products with a basis of E8, of which only the last bit counts.
std::size_t class_of(const LatticeVector& point) {
  unsigned bits = 0, sum = 0;
  for (std::size_t j = 0; j < kLatticeCols; ++j) sum += static_cast<unsigned>(point[j]);
  for (std::size_t j = 0; j + 2 < kLatticeCols; ++j)
    bits |= (static_cast<unsigned>(point[j] - point[j + 1]) >> 1 & 1u) << j;
  bits |= (static_cast<unsigned>(point[5] + point[6]) >> 1 & 1u) << 6;
  return bits | (sum >> 2 & 1u) << 7;
}

struct Refinements {
  std::array<std::array<std::int8_t, kLatticeCols>, kRefinements> points{};
  std::array<std::uint8_t, kRefinements> of_class{};
};

// Of every class the point nearest to the origin, of equals the first.
class ShortestPoints {
 public:
  ShortestPoints() {
    look_at(0, 0, 0, 0);
    look_at(1, 0, 0, 0);
  }
  std::vector<LatticeVector> sorted() const {
    std::vector<LatticeVector> points(found_.begin(), found_.end());
    std::ranges::sort(points);
    return points;
  }

 private:
  // No point of space is farther than 4 from twice a point of E8.
  static constexpr std::int32_t kReach = 4, kMostSquares = 32;

  void look_at(std::int32_t parity, std::size_t column, std::int32_t sum, std::int32_t squares) {
    if (squares > kMostSquares) return;
    if (column == kLatticeCols) {
      LatticeVector& shortest = found_[class_of(point_)];
      if (sum % 4 == 0 && key(point_) < key(shortest)) shortest = point_;
      return;
    }
    for (point_[column] = parity - kReach; point_[column] <= kReach; point_[column] += 2)
      look_at(parity, column + 1, sum + point_[column], squares + point_[column] * point_[column]);
  }
  static std::pair<std::int32_t, LatticeVector> key(const LatticeVector& point) {
    std::int32_t distance = 0;
    for (std::size_t j = 0; j < kLatticeCols; ++j)
      distance += (point[j] - kRefinementOrigin[j]) * (point[j] - kRefinementOrigin[j]);
    return {distance, point};
  }
  static constexpr LatticeVector far() {
    LatticeVector point{};
    point.fill(100);
    return point;
  }

  LatticeVector point_{};
  std::vector<LatticeVector> found_ = std::vector<LatticeVector>(kRefinements, far());
};

Refinements make_refinements() {
  const std::vector<LatticeVector> sorted = ShortestPoints().sorted();
  Refinements made;
  for (std::size_t i = 0; i < kRefinements; ++i) {
    made.of_class[class_of(sorted[i])] = static_cast<std::uint8_t>(i);
    for (std::size_t j = 0; j < kLatticeCols; ++j)
      made.points[i][j] = static_cast<std::int8_t>(sorted[i][j] - kRefinementOrigin[j]);
  }
  return made;
}

const Refinements& all_refinements() {
  static const Refinements made = make_refinements();
  return made;
}

constexpr std::size_t kPointBits = 16, kByteBits = 8;

std::size_t refinement_of(Code code, std::size_t number) {
  return code >> (kPointBits + kByteBits * number) & (kRefinements - 1);
}

}  // namespace

const std::array<std::array<std::int8_t, kLatticeCols>, kRefinements>& refinements() {
  return all_refinements().points;
}

std::array<std::int8_t, kLatticeCols> nested_values(Code code, std::size_t num_refinements) {
  auto values = lattice_values(static_cast<std::uint16_t>(code));
  for (std::size_t i = 0; i < num_refinements; ++i) {
    const auto& finer = refinements()[refinement_of(code, i)];
    for (std::size_t j = 0; j < kLatticeCols; ++j)
      values[j] = static_cast<std::int8_t>((i == 0 ? 1 : 2) * values[j] + finer[j]);
  }
  return values;
}

std::optional<Code> nested_code(const LatticeVector& point, std::size_t num_refinements) {
  LatticeVector rest = point;
  Code code = 0;
  for (std::size_t i = num_refinements; i-- > 0;) {
    const std::size_t byte = all_refinements().of_class[class_of(rest)];
    code |= static_cast<Code>(byte) << (kPointBits + kByteBits * i);
    for (std::size_t j = 0; j < kLatticeCols; ++j)
      rest[j] = (rest[j] - kRefinementOrigin[j] - refinements()[byte][j]) / 2;
  }
  for (std::int32_t& one : rest) one = 2 * one + 1;
  const std::optional<std::uint16_t> named = lattice_code(rest);
  if (!named) return std::nullopt;
  return code | *named;
}

}  // namespace nibble
