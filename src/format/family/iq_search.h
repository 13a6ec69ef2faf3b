// SPDX-License-Identifier: Apache-2.0
//
// The nearest point of a Codebook. Every point is a pair of half points, of which there are few: their errors are
// tabulated, sixteen at a time; a first half is looked at only where its error and the least error of any second half
// are together below the best found so far, and then its partners are, all at once. Where the number of minus signs
// must change by an odd number, one coordinate takes the other sign ("flip"; a second and third flip only add error):
// it lies in one half or in the other.
//
// Sums run over the coordinates of each half in order, then over the halves, at any width of vectors (lanes.h).
//
//   const Codebook::Choice choice = nearest_point(iq2_xxs_codebook(), target, weights, Signs::even, 0);
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "format/family/iq_codebook.h"
#include "format/lanes.h"

namespace nibble::inline NIBBLE_LANES {

// Errors of all half points, without a flip and with the best one.
template <std::size_t kRows>
struct HalfErrors {
  alignas(64) float natural[kRows * kLanes], flipped[kRows * kLanes];
};

template <std::size_t kLevels>
class PointSearch {
  static constexpr std::size_t kDimensions = kLevels == 3 ? 8 : 4, kHalf = kDimensions / 2,
                               kRows = kLevels == 3 ? 9 : 4;

 public:
  [[gnu::always_inline]] PointSearch(const Codebook& book, const float* target, const float* weights, Signs signs,
                                     float shift)
      : book_(book) {
    for (std::size_t j = 0; j < kDimensions; ++j)
      if (signs != Signs::none && std::signbit(target[j])) negative_ |= 1u << j;
    const bool odd = std::popcount(negative_) % 2 != 0;
    flip_ = (signs == Signs::even && odd) || (signs == Signs::odd && !odd);
    for (std::size_t j = 0; j < kDimensions; ++j) {
      const float weight = weights != nullptr ? weights[j] : 1.F;
      const float wanted = (signs == Signs::none ? target[j] : std::fabs(target[j])) - shift;
      for (std::size_t l = 0; l < kLevels; ++l) {
        const float difference = wanted - book.levels()[l], other = -wanted - book.levels()[l];
        natural_[j][l] = weight * (difference * difference);
        flipped_[j][l] = weight * (other * other);
      }
      least_[j] = 0;
      for (std::size_t l = 0; l + 1 < kLevels; ++l) least_[j] += wanted > book.boundaries()[l] ? 1u : 0u;
    }
  }

  [[gnu::always_inline]] Codebook::Choice run() {
    // Every coordinate at its best level: nothing can be nearer.
    if (!flip_) {
      const std::size_t first = slot_of(least_), second = slot_of(least_ + kHalf);
      const std::uint16_t index = book_.halves().index[first * book_.halves().slots + second];
      if (index != Codebook::kNone)
        return {sum_of(least_, natural_) + sum_of(least_ + kHalf, natural_ + kHalf), index, negative_};
    }
    tabulate(0);
    tabulate(1);
    if (flip_) {
      search(half_[0].natural, half_[1].flipped, 1);
      search(half_[0].flipped, half_[1].natural, 0);
    } else {
      search(half_[0].natural, half_[1].natural, 2);
    }
    second_ = find_slot(second_errors_, half_error_[1], book_.halves().partners.data() + first_ * kRows);
    return {best_, book_.halves().index[first_ * book_.halves().slots + second_], negative_ ^ find_flip()};
  }

 private:
  using Errors = float[kLevels];

  [[gnu::always_inline]] static std::size_t slot_of(const std::uint32_t* levels) {
    return kLevels == 3 ? levels[0] + 3 * levels[1] + 16 * levels[2] + 48 * levels[3] : levels[0] + 8 * levels[1];
  }
  [[gnu::always_inline]] static float sum_of(const std::uint32_t* levels, const Errors* errors) {
    float sum = errors[0][levels[0]];
    for (std::size_t j = 1; j < kHalf; ++j) sum += errors[j][levels[j]];
    return sum;
  }

  [[gnu::always_inline]] static Lanes plus(const Lanes& a, float b) {
    Lanes sum;
    for (std::size_t v = 0; v < kVectors; ++v) sum[v] = a[v] + b;
    return sum;
  }
  [[gnu::always_inline]] static Lanes least(const Lanes& a, const Lanes& b) {
    Lanes lower;
    for (std::size_t v = 0; v < kVectors; ++v) lower[v] = min(a[v], b[v]);
    return lower;
  }
  [[gnu::always_inline]] static void put(std::size_t row, const Lanes& errors, const float* missing, float* out) {
    for (std::size_t v = 0; v < kVectors; ++v)
      store(out + row * kLanes + v * kWidth, errors[v] + load(missing + row * kLanes + v * kWidth));
  }

  [[gnu::always_inline]] void tabulate(std::size_t h) {
    const Errors *n = natural_ + h * kHalf, *f = flipped_ + h * kHalf;
    const float* missing = book_.halves().missing[h].data();
    HalfErrors<kRows>& out = half_[h];
    alignas(64) float pairs[kLanes], flipped_pairs[kLanes];
    if constexpr (kLevels == 3) {
      for (std::size_t l = 0; l < kLanes; ++l) {
        const std::size_t a = l % 3, b = l / 3 % 3;
        pairs[l] = n[0][a] + n[1][b];
        if (!flip_) continue;
        const float flip_first = f[0][a] + n[1][b], flip_second = n[0][a] + f[1][b];
        flipped_pairs[l] = flip_first < flip_second ? flip_first : flip_second;
      }
      const Lanes two = load_lanes(pairs), two_flipped = load_lanes(flip_ ? flipped_pairs : pairs);
      for (std::size_t c = 0; c < 3; ++c) {
        const Lanes three = plus(two, n[2][c]), three_flipped = least(plus(two_flipped, n[2][c]), plus(two, f[2][c]));
        for (std::size_t d = 0; d < 3; ++d) {
          put(c + 3 * d, plus(three, n[3][d]), missing, out.natural);
          if (flip_) put(c + 3 * d, least(plus(three_flipped, n[3][d]), plus(three, f[3][d])), missing, out.flipped);
        }
      }
    } else {
      for (std::size_t row = 0; row < kRows; ++row) {
        for (std::size_t l = 0; l < kLanes; ++l) {
          const std::size_t a = l % 8, b = 2 * row + l / 8;
          pairs[l] = n[0][a] + n[1][b];
          if (!flip_) continue;
          const float flip_first = f[0][a] + n[1][b], flip_second = n[0][a] + f[1][b];
          flipped_pairs[l] = flip_first < flip_second ? flip_first : flip_second;
        }
        put(row, load_lanes(pairs), missing, out.natural);
        if (flip_) put(row, load_lanes(flipped_pairs), missing, out.flipped);
      }
    }
  }

  [[gnu::always_inline]] static float least_of(const float* errors) {
    Lanes lower = load_lanes(errors);
    for (std::size_t r = 1; r < kRows; ++r) lower = least(lower, load_lanes(errors + r * kLanes));
    return smallest_lane(lower);
  }

  // flipped_half: 0 or 1, or 2 for neither.
  [[gnu::always_inline]] void search(const float* first, const float* second, std::size_t flipped_half) {
    const float least_second = least_of(second), least_first = least_of(first);
    if (!(least_first + least_second < best_)) return;
    const std::size_t start = find_slot(first, least_first, nullptr);
    look_at(start, first, second, flipped_half);
    for (std::size_t r = 0; r < kRows; ++r) {
      Lanes sums = plus(load_lanes(first + r * kLanes), least_second);
      for (std::uint32_t bits = lanes_below(sums, best_); bits != 0; bits &= bits - 1) {
        const std::size_t slot = r * kLanes + static_cast<std::size_t>(std::countr_zero(bits));
        if (slot != start && first[slot] + least_second < best_) look_at(slot, first, second, flipped_half);
      }
    }
  }

  [[gnu::always_inline]] void look_at(std::size_t slot, const float* first, const float* second,
                                      std::size_t flipped_half) {
    const std::uint16_t* partners = book_.halves().partners.data() + slot * kRows;
    Lanes lower;
    for (std::size_t v = 0; v < kVectors; ++v) lower[v] = splat(HUGE_VALF);
    for (std::size_t r = 0; r < kRows; ++r) lower = min_where(partners[r], lower, load_lanes(second + r * kLanes));
    const float error = smallest_lane(lower);
    if (!(first[slot] + error < best_)) return;
    best_ = first[slot] + error;
    first_ = slot;
    flipped_half_ = flipped_half;
    half_error_[0] = first[slot];
    half_error_[1] = error;
    second_errors_ = second;
  }

  // The first slot that has this error and, where partners are given, is one of them. There is one.
  [[gnu::always_inline]] static std::size_t find_slot(const float* errors, float error, const std::uint16_t* partners) {
    for (std::size_t r = 0;; ++r) {
      const std::uint32_t bits =
          lanes_equal(load_lanes(errors + r * kLanes), error) & (partners != nullptr ? partners[r] : 0xffffu);
      if (bits != 0 || r + 1 == kRows) return r * kLanes + static_cast<std::size_t>(std::countr_zero(bits | 0x8000u));
    }
  }

  // The coordinate whose flip gave the half its error.
  [[gnu::always_inline]] std::uint32_t find_flip() const {
    if (flipped_half_ == 2) return 0;
    const std::size_t slot = flipped_half_ == 0 ? first_ : second_;
    std::uint32_t levels[4] = {static_cast<std::uint32_t>(slot % kLanes % 3),
                               static_cast<std::uint32_t>(slot % kLanes / 3), static_cast<std::uint32_t>(slot / 16 % 3),
                               static_cast<std::uint32_t>(slot / 48)};
    if (kLevels == 8) levels[0] = slot % 8, levels[1] = static_cast<std::uint32_t>(slot / 8);
    const Errors *n = natural_ + flipped_half_ * kHalf, *f = flipped_ + flipped_half_ * kHalf;
    for (std::size_t flip = 0; flip + 1 < kHalf; ++flip) {
      float sum = flip == 0 ? f[0][levels[0]] : n[0][levels[0]];
      for (std::size_t j = 1; j < kHalf; ++j) sum += flip == j ? f[j][levels[j]] : n[j][levels[j]];
      if (sum == half_error_[flipped_half_]) return 1u << (flipped_half_ * kHalf + flip);
    }
    return 1u << (flipped_half_ * kHalf + kHalf - 1);
  }

  const Codebook& book_;
  std::uint32_t negative_ = 0;
  bool flip_ = false;
  float natural_[kDimensions][kLevels], flipped_[kDimensions][kLevels];
  std::uint32_t least_[kDimensions];
  HalfErrors<kRows> half_[2];
  float best_ = HUGE_VALF;
  std::size_t first_ = 0, second_ = 0, flipped_half_ = 2;
  const float* second_errors_ = half_[1].natural;
  float half_error_[2] = {};
};

static inline Codebook::Choice nearest_point(const Codebook& book, const float* target, const float* weights,
                                             Signs signs, float shift) {
  if (book.num_levels() == 3) return PointSearch<3>(book, target, weights, signs, shift).run();
  return PointSearch<8>(book, target, weights, signs, shift).run();
}

}  // namespace nibble::inline NIBBLE_LANES
