// SPDX-License-Identifier: Apache-2.0
//
// What the second moments of a Linear's inputs (the Hessian of its squared error, up to a factor) weigh tokens by.
//
//   options.calibration.hessian = parse_hessian("guided:4");
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nibble {

struct Hessian {
  // 0: plain, every token weighs the same. Else by the squares of the loss's gradient by what the Linear gives
  // (train/token_weights.h), for each of so many groups of its rows.
  std::size_t groups = 0;
  // The same for each matrix by itself, in one group, with errors of its outputs weighed against each other, too
  // (train/loss_curvature.h).
  bool is_kl = false;

  bool is_guided() const { return groups != 0; }
  bool operator==(const Hessian&) const = default;
};

// "plain", "guided", "guided:4" or "kl". Error(invalid_argument) lists what is known.
Hessian parse_hessian(std::string_view spelling);
std::string hessian_name(const Hessian& hessian);

}  // namespace nibble
