// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/shorthand.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/letter_case.h"
#include "format/planar/spec.h"

namespace nibble {
namespace {

// Options that say where points lie, and scales that have no sign.
bool says_where(std::string_view option) {
  constexpr auto kWords =
      std::to_array<std::string_view>({"sym", "asym", "bias", "half", "signed", "high", "s6", "s8", "e8m0", "dq"});
  return std::ranges::find(kWords, option) != kWords.end();
}

}  // namespace

std::string resolve_shorthand(std::string_view spelling, bool holds_halves) {
  const std::size_t plus = std::min(spelling.find('+'), spelling.size());
  const std::string weights = lower_case(spelling.substr(0, plus));
  const std::string_view points = std::string_view(weights).substr(0, weights.find(':'));
  if (points != "int2" && points != "int3") return std::string(spelling);
  for (std::size_t at = points.size(); at < weights.size();) {
    const std::size_t end = std::min(weights.find(':', at + 1), weights.size());
    if (says_where(std::string_view(weights).substr(at + 1, end - at - 1))) return std::string(spelling);
    at = end;
  }
  const char* const where = points == "int2" && holds_halves ? ":half" : ":signed";
  return weights + where + std::string(spelling.substr(plus));
}

}  // namespace nibble
