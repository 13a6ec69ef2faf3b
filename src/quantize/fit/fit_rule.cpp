// SPDX-License-Identifier: Apache-2.0
#include "quantize/fit/fit_rule.h"

#include <array>
#include <string>

#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::array kFits = {
    NamedFit{"auto", FitRule::automatic, "the format's own default, the one that measures best"},
    NamedFit{"absmax", FitRule::absmax, "the largest magnitude reaches the end of the range"},
    NamedFit{"minmax", FitRule::minmax, "smallest and largest value reach the ends of the range"},
    NamedFit{"search", FitRule::search, "the grid with the smallest squared error, weighted by importance where known"},
    NamedFit{"percentile", FitRule::percentile, "a given share of the magnitudes stays inside the range"},
    NamedFit{"entropy", FitRule::entropy, "the range that keeps the distribution closest (Kullback-Leibler)"},
};

}  // namespace

std::span<const NamedFit> list_fits() { return kFits; }

std::string_view fit_name(FitRule rule) {
  for (const NamedFit& fit : kFits)
    if (fit.rule == rule) return fit.name;
  return "?";
}

FitRule find_fit(std::string_view name) {
  std::string known;
  for (const NamedFit& fit : kFits) {
    if (fit.name == name) return fit.rule;
    known += (known.empty() ? "" : ", ") + std::string(fit.name);
  }
  throw Error(ErrorKind::invalid_argument, "unknown fit '" + std::string(name) + "'; known are " + known);
}

}  // namespace nibble
