// SPDX-License-Identifier: Apache-2.0
#include "format/family/iq_codebook.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "format/family/iq_grids.h"
#include "format/family/iq_search.h"

namespace nibble {

constexpr std::uint16_t kNone = Codebook::kNone;

Codebook::Codebook(std::span<const std::uint16_t> grid, std::span<const float> levels, std::size_t dimensions)
    : dimensions_(dimensions), num_levels_(levels.size()) {
  assert(num_levels_ == 3 || num_levels_ == 8);
  std::copy(levels.begin(), levels.end(), levels_);
  for (std::size_t l = 0; l + 1 < num_levels_; ++l) boundaries_[l] = (levels_[l] + levels_[l + 1]) / 2;
  const unsigned bits = dimensions == 8 ? 2 : 3;
  children_.assign(num_levels_, kNone);
  for (std::size_t index = 0; index < grid.size(); ++index) {
    std::size_t node = 0;
    for (std::size_t j = 0; j < dimensions; ++j) {
      const std::size_t level = grid[index] >> (bits * j) & ((1u << bits) - 1);
      points_.push_back(levels_[level]);
      const std::size_t slot = node * num_levels_ + level;
      if (j + 1 == dimensions) {
        children_[slot] = static_cast<std::uint16_t>(index);
      } else {
        if (children_[slot] == kNone) {
          children_[slot] = static_cast<std::uint16_t>(children_.size() / num_levels_);
          children_.resize(children_.size() + num_levels_, kNone);
        }
        node = children_[slot];
      }
    }
  }
  halve(grid, bits);
}

void Codebook::halve(std::span<const std::uint16_t> grid, unsigned bits) {
  const std::size_t half = dimensions_ / 2, mask = (1u << bits) - 1;
  halves_.slots = num_levels_ == 3 ? 9 * kLanes : 4 * kLanes;
  const std::size_t rows = halves_.slots / kLanes;
  for (auto& missing : halves_.missing) missing.assign(halves_.slots, HUGE_VALF);
  halves_.partners.assign(halves_.slots * rows, 0);
  halves_.index.assign(halves_.slots * halves_.slots, kNone);
  for (std::size_t point = 0; point < grid.size(); ++point) {
    std::size_t slot[2] = {};
    for (std::size_t j = 0; j < dimensions_; ++j) {
      const std::size_t level = grid[point] >> (bits * j) & mask;
      static constexpr std::size_t kPlaces3[] = {1, 3, 16, 48}, kPlaces8[] = {1, 8};
      slot[j / half] += level * (num_levels_ == 3 ? kPlaces3[j % half] : kPlaces8[j % half]);
    }
    halves_.missing[0][slot[0]] = halves_.missing[1][slot[1]] = 0;
    std::uint16_t& partners = halves_.partners[slot[0] * rows + slot[1] / kLanes];
    partners = static_cast<std::uint16_t>(partners | 1u << (slot[1] % kLanes));
    halves_.index[slot[0] * halves_.slots + slot[1]] = static_cast<std::uint16_t>(point);
  }
}

Codebook::Choice Codebook::nearest(const float* target, const float* weights, Signs signs, float shift) const {
  return nearest_point(*this, target, weights, signs, shift);
}

void factor_metric(const float* metric, std::size_t size, MetricFactor& lower) {
  // What is added to the diagonal, relative to its largest element, so that a singular metric can be factored.
  constexpr double kRidge = 1e-7;
  double largest = 0;
  for (std::size_t i = 0; i < size; ++i) largest = std::max(largest, static_cast<double>(metric[i * size + i]));
  for (std::size_t i = size; i-- > 0;) {
    for (std::size_t j = i + 1; j-- > 0;) {
      double sum = metric[i * size + j] + (i == j ? kRidge * largest : 0);
      for (std::size_t k = i + 1; k < size; ++k) sum -= lower[k][i] * lower[k][j];
      if (i == j)
        lower[i][i] = sum > 0 ? std::sqrt(sum) : 0;
      else
        lower[i][j] = lower[i][i] > 0 ? sum / lower[i][i] : 0;
    }
  }
}

// Schnorr-Euchner enumeration (Agrell et al. 2002): with M = L' L, L lower triangular, coordinate k adds (sum over j <=
// k of L[k][j] e[j])^2, which depends on the coordinates chosen so far only.
class MetricSearch {
 public:
  MetricSearch(const Codebook& book, std::size_t books, const float* target, const float* metric, Signs signs,
               float shift)
      : book_(book), size_(books * book.dimensions_), target_(target), signs_(signs), shift_(shift) {
    factor_metric(metric, size_, lower_);
  }

  MetricChoice run() {
    descend(0, 0, 0, 0);
    return best_;
  }

 private:
  static constexpr int kMaxBranches = 200000;

  struct Branch {
    double error;
    float value;
    std::uint16_t child;
    bool negative;
  };

  void descend(std::size_t depth, std::size_t node, double error, std::uint32_t negative) {
    if (depth == size_ || depth == kMaxUnit) {  // the second tells the compiler how deep this goes
      const bool odd = std::popcount(negative) % 2 != 0;
      if ((signs_ == Signs::even && odd) || (signs_ == Signs::odd && !odd)) return;
      found_ = true;
      limit_ = error;
      best_.error = static_cast<float>(error);
      std::copy(index_, index_ + 2, best_.index);
      best_.negative = negative;
      return;
    }
    double before = 0;
    for (std::size_t j = 0; j < depth; ++j) before += lower_[depth][j] * chosen_[j];
    Branch branches[2 * kMaxLevels];
    const std::size_t count = list_branches(depth, node, before, branches);
    for (std::size_t i = 0; i < count && error + branches[i].error < limit_; ++i) {
      if (++num_branches_ > kMaxBranches && found_) return;
      chosen_[depth] = target_[depth] - branches[i].value;
      std::size_t next = branches[i].child;
      if ((depth + 1) % book_.dimensions_ == 0) {
        index_[depth / book_.dimensions_] = branches[i].child;
        next = 0;
      }
      descend(depth + 1, next, error + branches[i].error, negative | (branches[i].negative ? 1u << depth : 0u));
    }
  }

  std::size_t list_branches(std::size_t depth, std::size_t node, double before, Branch* branches) const {
    std::size_t count = 0;
    for (std::size_t l = 0; l < book_.num_levels_; ++l) {
      const std::uint16_t child = book_.children_[node * book_.num_levels_ + l];
      if (child == kNone) continue;
      for (int sign = 0; sign < (signs_ == Signs::none ? 1 : 2); ++sign) {
        const float value = sign != 0 ? -(book_.levels_[l] + shift_) : book_.levels_[l] + shift_;
        const double difference = before + lower_[depth][depth] * (target_[depth] - value);
        branches[count++] = {difference * difference, value, child, sign != 0};
      }
    }
    std::sort(branches, branches + count, [](const Branch& a, const Branch& b) { return a.error < b.error; });
    return count;
  }

  const Codebook& book_;
  const std::size_t size_;
  const float* const target_;
  const Signs signs_;
  const float shift_;
  MetricFactor lower_ = {};
  double chosen_[kMaxUnit] = {};
  std::uint32_t index_[2] = {0, 0};
  double limit_ = HUGE_VAL;
  bool found_ = false;
  int num_branches_ = 0;
  MetricChoice best_;
};

MetricChoice nearest_in_metric(const Codebook& book, std::size_t books, const float* target, const float* metric,
                               Signs signs, float shift) {
  return MetricSearch(book, books, target, metric, signs, shift).run();
}

const Codebook& iq2_xxs_codebook() {
  static const Codebook book(kIq2XxsGrid, kIq2Levels, 8);
  return book;
}

const Codebook& iq2_xs_codebook() {
  static const Codebook book(kIq2XsGrid, kIq2Levels, 8);
  return book;
}

const Codebook& iq2_s_codebook() {
  static const Codebook book(kIq2SGrid, kIq2Levels, 8);
  return book;
}

const Codebook& iq3_xxs_codebook() {
  static const Codebook book(kIq3XxsGrid, kIq3XxsLevels, 4);
  return book;
}

const Codebook& iq3_s_codebook() {
  static const Codebook book(kIq3SGrid, kIq3SLevels, 4);
  return book;
}

const Codebook& iq1_codebook() {
  static const Codebook book(kIq1SGrid, kIq1Levels, 8);
  return book;
}

}  // namespace nibble
