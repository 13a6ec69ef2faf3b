// SPDX-License-Identifier: Apache-2.0
#include "train/rate_schedule.h"

#include <array>
#include <cmath>
#include <numbers>

namespace nibble {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"constant", "linear", "cosine"};

}  // namespace

double rate_factor(const RateSchedule& schedule, std::uint64_t step) {
  if (step < schedule.warm_up) return static_cast<double>(step + 1) / static_cast<double>(schedule.warm_up);
  if (schedule.fall == RateFall::constant) return 1;
  const std::uint64_t after = step - schedule.warm_up;
  if (after < schedule.hold) return 1;
  if (step >= schedule.steps) return schedule.last;
  const double share = static_cast<double>(after - schedule.hold) /
                       static_cast<double>(schedule.steps - schedule.warm_up - schedule.hold);
  const double left = schedule.fall == RateFall::linear ? 1 - share : 0.5 * (1 + std::cos(std::numbers::pi * share));
  return schedule.last + (1 - schedule.last) * left;
}

std::string_view rate_fall_name(RateFall fall) { return kNames[static_cast<std::size_t>(fall)]; }

std::optional<RateFall> find_rate_fall(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<RateFall>(i);
  return std::nullopt;
}

}  // namespace nibble
