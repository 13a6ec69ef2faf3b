// SPDX-License-Identifier: Apache-2.0
#include "quantize/fit/fit_rule.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::array kFits = {
    NamedFit{"auto", FitRule::automatic, "the format's own default, the one that measures best"},
    NamedFit{"absmax", FitRule::absmax, "the largest magnitude reaches the end of the range"},
    NamedFit{"minmax", FitRule::minmax, "smallest and largest value reach the ends of the range"},
    NamedFit{"search", FitRule::search, "the grid with the smallest squared error, weighted by importance where known"},
    NamedFit{"percentile", FitRule::percentile,
             "a share of the magnitudes stays inside the range: percentile:99.5; 99.9 unless it is given"},
    NamedFit{"entropy", FitRule::entropy, "the range that keeps the distribution closest (Kullback-Leibler)"},
    NamedFit{"absmean", FitRule::absmean, "ternary and binary: the mean magnitude is the scale (BitNet b1.58)"},
    NamedFit{"threshold", FitRule::threshold,
             "ternary: what exceeds 0.7 of the mean magnitude is kept (Ternary Weight Networks)"},
};

}  // namespace

std::span<const NamedFit> list_fits() { return kFits; }

std::string_view fit_name(FitRule rule) {
  for (const NamedFit& fit : kFits)
    if (fit.rule == rule) return fit.name;
  return "?";
}

std::string fit_spelling(const FitOptions& fit) {
  std::string spelling(fit_name(fit.rule));
  if (fit.rule == FitRule::percentile) spelling += fmt::format(":{}", fit.percentile);
  return spelling;
}

FitOptions find_fit(std::string_view spelling) {
  const std::size_t colon = spelling.find(':');
  std::string_view name = spelling.substr(0, colon);
  if (name == "mse") name = fit_name(FitRule::search);  // the method of that name is this fit
  std::string known;
  for (const NamedFit& fit : kFits) {
    known += (known.empty() ? "" : ", ") + std::string(fit.name);
    if (fit.name != name) continue;
    FitOptions options{.rule = fit.rule};
    if (colon == std::string_view::npos) return options;
    const std::string_view value = spelling.substr(colon + 1);
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), options.percentile);
    if (fit.rule != FitRule::percentile || code != std::errc{} || end != value.data() + value.size() ||
        !(options.percentile > 0 && options.percentile <= 100))
      throw Error(ErrorKind::invalid_argument,
                  "only percentile takes a number, above 0 and up to 100, as in percentile:99.5: '" +
                      std::string(spelling) + "'");
    return options;
  }
  throw Error(ErrorKind::invalid_argument, "unknown fit '" + std::string(spelling) + "'; known are " + known);
}

}  // namespace nibble
