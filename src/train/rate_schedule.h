// SPDX-License-Identifier: Apache-2.0
//
// How the learning rate goes over the steps of a run: it rises in a line, stays, and falls. Plain data; pure.
//
//   const RateSchedule schedule{.fall = RateFall::cosine, .steps = 4000, .warm_up = 40, .hold = 1200};
//   rate_factor(schedule, 0);      // 0.025: the first of 40 steps
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace nibble {

enum class RateFall : std::uint8_t { constant, linear, cosine };

struct RateSchedule {
  RateFall fall = RateFall::cosine;
  std::uint64_t steps = 0;    // of the whole run
  std::uint64_t warm_up = 0;  // steps in which the rate rises from 1 / warm_up to all of it
  std::uint64_t hold = 0;     // steps behind those in which it stays
  double last = 0;            // the share of the rate that the fall ends at, one step behind the run

  bool operator==(const RateSchedule&) const = default;
};

// The share of the rate at a step, counted from 0; `last` from the end of the run on.
double rate_factor(const RateSchedule& schedule, std::uint64_t step);

std::string_view rate_fall_name(RateFall fall);
std::optional<RateFall> find_rate_fall(std::string_view name);

}  // namespace nibble
