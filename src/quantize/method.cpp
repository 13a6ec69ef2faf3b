// SPDX-License-Identifier: Apache-2.0
#include "quantize/method.h"

#include <array>

#include "nibble/error.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/round/exact.h"
#include "quantize/round/gptq.h"
#include "quantize/round/nearest.h"

namespace nibble {

std::string Method::composition() const {
  const std::array<std::string_view, 3> learnt = {"", " + signs", " + curvature"};
  return std::string(transform.name) + " + " + fit_spelling(fit) + " + " + std::string(rounder->name()) +
         std::string(learnt[static_cast<std::size_t>(learning)]);
}

std::vector<Method> list_methods() {
  const auto nearest = make_nearest_rounder();
  const FitOptions search{.rule = FitRule::search};
  return {
      {"rtn", "round to nearest on the format's default grid", kNoTransform, {}, nearest},
      {"mse", "round to nearest on the grid with the smallest squared error", kNoTransform, search, nearest},
      {"imatrix", "the same, a column's error weighted by its mean square input", kNoTransform, search, nearest,
       Needs::mean_square},
      {"table", "learned points: k-means weighted by mean square inputs; for table formats", kNoTransform, search,
       nearest, Needs::mean_square},
      {"awq", "active columns scaled up before rounding, folded away", find_transform("awq"), search, nearest,
       Needs::mean_square},
      {"smoothquant",
       "activation ranges moved into the weights, for 8-bit activations",
       find_transform("smoothquant"),
       {},
       nearest},
      {"gptq", "each column's error made good by the columns that follow", kNoTransform, search, make_gptq_rounder({})},
      {"descent", "gptq, then grids and codes chosen anew span by span", kNoTransform, search,
       make_gptq_rounder({.sweeps = kDescentSweeps})},
      {"signround", "gptq, then a layer's codes and grids learn from the signs of gradients", kNoTransform, search,
       make_gptq_rounder({}), Needs::mean_square, LayerLearning::signs},
      {"blockwise", "gptq, then a layer's codes go where the slope and the curvature of its error take them",
       kNoTransform, search, make_gptq_rounder({}), Needs::mean_square, LayerLearning::curvature},
  };
}

std::shared_ptr<const Rounder> find_rounder(std::string_view name) {
  const std::array known = {make_nearest_rounder(), make_gptq_rounder({}),
                            make_gptq_rounder({.sweeps = kDescentSweeps})};
  std::string names;
  for (const auto& rounder : known) {
    if (rounder->name() == name) return rounder;
    names += (names.empty() ? "" : ", ") + std::string(rounder->name());
  }
  throw Error(ErrorKind::invalid_argument, "unknown rounding '" + std::string(name) + "'; known are " + names);
}

Method find_method(std::string_view name) {
  if (name == kExactMethod)
    return {std::string(name), "the same numbers", kNoTransform, {.rule = FitRule::exact}, make_exact_rounder()};
  std::string known;
  for (Method& method : list_methods()) {
    if (method.name == name) return method;
    known += (known.empty() ? "" : ", ") + method.name;
  }
  throw Error(ErrorKind::invalid_argument, "unknown method '" + std::string(name) + "'; known are " + known);
}

}  // namespace nibble
