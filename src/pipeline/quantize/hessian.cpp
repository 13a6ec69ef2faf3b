// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/hessian.h"

#include <charconv>

#include "nibble/error.h"

namespace nibble {

Hessian parse_hessian(std::string_view spelling) {
  constexpr std::string_view kGuided = "guided";
  constexpr std::size_t kMostGroups = 64;
  if (spelling == "plain") return {};
  if (spelling == kGuided) return {.groups = 1};
  if (spelling == "kl") return {.groups = 1, .is_kl = true};
  if (spelling.starts_with("guided:")) {
    const std::string_view number = spelling.substr(kGuided.size() + 1);
    Hessian hessian;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), hessian.groups);
    if (error == std::errc() && end == number.data() + number.size() && hessian.groups >= 1 &&
        hessian.groups <= kMostGroups)
      return hessian;
  }
  throw Error(
      ErrorKind::invalid_argument,
      "moments are plain, guided, guided:N with up to 64 groups of rows, or kl, not '" + std::string(spelling) + "'",
      "hessian");
}

std::string hessian_name(const Hessian& hessian) {
  if (!hessian.is_guided()) return "plain";
  if (hessian.is_kl) return "kl";
  return hessian.groups == 1 ? "guided" : "guided:" + std::to_string(hessian.groups);
}

}  // namespace nibble
