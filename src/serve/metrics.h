// SPDX-License-Identifier: Apache-2.0
//
// What a server counts of its work, as Prometheus wants it: totals, and how many measurements lay below which bounds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "serve/generation.h"

namespace nibble::serve {

class Histogram {
 public:
  // bounds: rising, upper ends.
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds) {}
  void add(double seconds) noexcept;
  Histogram& operator+=(const Histogram& other) noexcept;  // of the same bounds
  std::span<const double> bounds() const noexcept { return bounds_; }
  // How many were at most bounds()[i].
  std::uint64_t count_within(std::size_t i) const noexcept;
  std::uint64_t count() const noexcept { return count_; }
  double sum() const noexcept { return sum_; }

 private:
  static constexpr std::size_t kMostBounds = 20;
  std::span<const double> bounds_;
  std::array<std::uint64_t, kMostBounds> counts_ = {};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

// Of seconds that requests take, and that stand between two tokens.
inline constexpr std::array kRequestBounds = {0.005, 0.01, 0.025, 0.05, 0.1,  0.25,  0.5,   1.0,
                                              2.5,   5.0,  10.0,  25.0, 50.0, 100.0, 250.0, 600.0};
inline constexpr std::array kTokenBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                            0.15,  0.2,    0.3,   0.5,  0.75,  1.0,  2.5,   5.0};

struct Metrics {
  std::uint64_t prompt_tokens = 0, cached_tokens = 0, read_tokens = 0, new_tokens = 0;
  std::uint64_t steps = 0, preemptions = 0, rejected = 0;
  std::array<std::uint64_t, 4> finished = {};  // by FinishReason
  Histogram first_token{kRequestBounds}, between_tokens{kTokenBounds}, whole{kRequestBounds}, queue{kRequestBounds},
      prompt{kRequestBounds}, decode{kRequestBounds};

  Metrics& operator+=(const Metrics& other) noexcept;
};

}  // namespace nibble::serve
