// SPDX-License-Identifier: Apache-2.0
#include "quantize/method.h"

#include "nibble/error.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/round/nearest.h"

namespace nibble {

std::string Method::composition() const { return std::string(transform.name) + " + " + fit_spelling(fit) + " + " + std::string(rounder->name()); }

std::vector<Method> list_methods() {
  const auto nearest = make_nearest_rounder();
  return {
      {"rtn", "round to nearest on the format's default grid", kNoTransform, {}, nearest},
      {"mse", "round to nearest on the grid with the smallest squared error", kNoTransform, {.rule = FitRule::search}, nearest},
  };
}

Method find_method(std::string_view name) {
  std::string known;
  for (Method& method : list_methods()) {
    if (method.name == name) return method;
    known += (known.empty() ? "" : ", ") + method.name;
  }
  throw Error(ErrorKind::invalid_argument, "unknown method '" + std::string(name) + "'; known are " + known);
}

}  // namespace nibble
