// SPDX-License-Identifier: Apache-2.0
#include "format/iq_codebook.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "format/iq_grids.h"

namespace nibble {

namespace {

constexpr std::uint16_t kNone = 0xffff;

}  // namespace

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
}

// Errors of each coordinate at each level with the sign of the target ("natural") and with the other one ("flipped"), and the least that
// the coordinates from `depth` on can add. Level l is at l + 1 between two infinities, and errors rise away from the level where they are
// least, so that levels can be taken in ascending order of error by walking outwards from there.
struct Codebook::Search {
  struct Errors {
    float at_level[kMaxLevels + 2];
    std::size_t least;

    // The grids have 3 levels or 8: constants, so that the loop becomes vectors.
    void measure(const Codebook& book, float wanted, float weight) {
      if (book.num_levels_ == 8)
        measure<8>(book, wanted, weight);
      else
        measure<3>(book, wanted, weight);
    }
    template <std::size_t kLevels>
    void measure(const Codebook& book, float wanted, float weight) {
      at_level[0] = at_level[kLevels + 1] = HUGE_VALF;
      for (std::size_t l = 0; l < kLevels; ++l) {
        const float difference = wanted - book.levels_[l];
        at_level[l + 1] = weight * (difference * difference);
      }
      std::size_t passed = 0;
      for (std::size_t l = 0; l + 1 < kLevels; ++l) passed += wanted > book.boundaries_[l] ? 1 : 0;
      least = 1 + passed;
    }
  };
  Errors natural[kMaxUnit], flipped[kMaxUnit];
  float bound[kMaxUnit + 1] = {}, bound_with_flip[kMaxUnit + 1] = {};
  float best = HUGE_VALF;
  std::uint32_t index = 0, flips = 0;
};

// One flip at most: where the number of minus signs must change by an odd number, a second and third flip only add error.
void Codebook::descend(Search& search, std::size_t depth, std::size_t node, float error, bool flip_pending, std::uint32_t flips) const {
  if (depth == dimensions_) {
    search.best = error;
    search.index = static_cast<std::uint32_t>(node);
    search.flips = flips;
    return;
  }
  const std::uint16_t* children = children_.data() + node * num_levels_;
  const auto try_levels = [&](const Search::Errors& errors, float rest, bool still_pending, std::uint32_t flips_now) {
    std::size_t below = errors.least, above = errors.least + 1;
    for (;;) {
      const std::size_t taken = errors.at_level[below] <= errors.at_level[above] ? below-- : above++;
      const float so_far = error + errors.at_level[taken];
      if (!(so_far + rest < search.best)) return;
      const std::uint16_t child = children[taken - 1];
      if (child != kNone) descend(search, depth + 1, child, so_far, still_pending, flips_now);
    }
  };
  const Search::Errors &natural = search.natural[depth], &flipped = search.flipped[depth];
  if (!flip_pending) return try_levels(natural, search.bound[depth + 1], false, flips);
  // The more promising half first: it lowers the limit for the other.
  const float rest_natural = search.bound_with_flip[depth + 1], rest_flipped = search.bound[depth + 1];
  const bool natural_first = natural.at_level[natural.least] + rest_natural <= flipped.at_level[1] + rest_flipped;
  if (natural_first) try_levels(natural, rest_natural, true, flips);
  try_levels(flipped, rest_flipped, false, flips | 1u << depth);
  if (!natural_first) try_levels(natural, rest_natural, true, flips);
}

Codebook::Choice Codebook::nearest(const float* target, const float* weights, Signs signs, float shift) const {
  Search search;
  std::uint32_t negative = 0;
  for (std::size_t j = 0; j < dimensions_; ++j)
    if (signs != Signs::none && std::signbit(target[j])) negative |= 1u << j;
  const bool odd = std::popcount(negative) % 2 != 0;
  const bool flip = (signs == Signs::even && odd) || (signs == Signs::odd && !odd);
  for (std::size_t j = 0; j < dimensions_; ++j) {
    const float weight = weights != nullptr ? weights[j] : 1.F;
    const float wanted = (signs == Signs::none ? target[j] : std::fabs(target[j])) - shift;
    search.natural[j].measure(*this, wanted, weight);
    if (flip) search.flipped[j].measure(*this, -wanted, weight);
  }
  search.bound_with_flip[dimensions_] = HUGE_VALF;
  for (std::size_t j = dimensions_; j-- > 0;) {
    const float least = search.natural[j].at_level[search.natural[j].least];
    search.bound[j] = search.bound[j + 1] + least;
    if (flip) search.bound_with_flip[j] = std::min(search.bound_with_flip[j + 1] + least, search.bound[j + 1] + search.flipped[j].at_level[1]);
  }
  descend(search, 0, 0, 0, flip, 0);
  return {search.best, search.index, negative ^ search.flips};
}

// Schnorr-Euchner enumeration (Agrell et al. 2002): with M = L' L, L lower triangular, coordinate k adds (sum over j <= k of
// L[k][j] e[j])^2, which depends on the coordinates chosen so far only.
class MetricSearch {
 public:
  MetricSearch(const Codebook& book, std::size_t books, const float* target, const float* metric, Signs signs, float shift)
      : book_(book), size_(books * book.dimensions_), target_(target), signs_(signs), shift_(shift) {
    factor(metric);
  }

  MetricChoice run() {
    descend(0, 0, 0, 0);
    return best_;
  }

 private:
  static constexpr int kMaxBranches = 200000;
  // What is added to the diagonal, relative to its largest element, so that a singular metric can be factored.
  static constexpr double kRidge = 1e-7;

  struct Branch {
    double error;
    float value;
    std::uint16_t child;
    bool negative;
  };

  // M = L' L from the last row up.
  void factor(const float* metric) {
    double largest = 0;
    for (std::size_t i = 0; i < size_; ++i) largest = std::max(largest, static_cast<double>(metric[i * size_ + i]));
    for (std::size_t i = size_; i-- > 0;) {
      for (std::size_t j = i + 1; j-- > 0;) {
        double sum = metric[i * size_ + j] + (i == j ? kRidge * largest : 0);
        for (std::size_t k = i + 1; k < size_; ++k) sum -= lower_[k][i] * lower_[k][j];
        if (i == j)
          lower_[i][i] = sum > 0 ? std::sqrt(sum) : 0;
        else
          lower_[i][j] = lower_[i][i] > 0 ? sum / lower_[i][i] : 0;
      }
    }
  }

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
  double lower_[kMaxUnit][kMaxUnit] = {};
  double chosen_[kMaxUnit] = {};
  std::uint32_t index_[2] = {0, 0};
  double limit_ = HUGE_VAL;
  bool found_ = false;
  int num_branches_ = 0;
  MetricChoice best_;
};

MetricChoice nearest_in_metric(const Codebook& book, std::size_t books, const float* target, const float* metric, Signs signs, float shift) {
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
