// SPDX-License-Identifier: Apache-2.0
#include "format/activation_format.h"

#include <array>
#include <cmath>

#include "format/outlier_format.h"
#include "format/sparse_format.h"
#include "nibble/error.h"

namespace nibble {
namespace {

struct Named {
  std::string_view name;
  ActivationFormat format;
};

constexpr ActivationFormat of_runs(std::uint16_t run, WideColumns wide) {
  return {ActivationGrain::run, false, wide, run};
}

constexpr std::array kFormats = {
    Named{"a8:g128:wide", kDefaultActivations},
    Named{"a8:g128", of_runs(128, WideColumns::none)},
    Named{"a8:g64", of_runs(64, WideColumns::none)},
    Named{"a8:g64:wide", of_runs(64, WideColumns::some)},
    Named{"a8:g32", of_runs(32, WideColumns::none)},
    Named{"a8:g32:wide", of_runs(32, WideColumns::some)},
    Named{"a16:g128", of_runs(128, WideColumns::all)},
    Named{"a8:token", {ActivationGrain::token, false}},
    Named{"a8:token:asym", {ActivationGrain::token, true}},
    Named{"a8:static", {ActivationGrain::tensor, false}},
    Named{"a8:static:asym", {ActivationGrain::tensor, true}},
};

}  // namespace

ActivationFormat parse_activation_format(std::string_view spelling) {
  if (spelling == "a8") return kDefaultActivations;
  std::string known = "a8";
  for (const Named& named : kFormats) {
    if (named.name == spelling) return named.format;
    known.append(", ").append(named.name);
  }
  throw Error(ErrorKind::invalid_argument,
              "unknown format of activations; known are " + known + ": '" + std::string(spelling) + "'");
}

std::string activation_format_name(ActivationFormat format) {
  for (const Named& named : kFormats)
    if (named.format == format) return std::string(named.name);
  return "?";
}

std::vector<ActivationFormat> activation_formats() {
  std::vector<ActivationFormat> formats;
  for (const Named& named : kFormats) formats.push_back(named.format);
  return formats;
}

std::optional<std::string> find_activation_grid_defect(const ActivationGrid& grid) {
  if (!std::isfinite(grid.scale) || grid.scale < kSmallestActivationScale)
    return "scale should be a positive number: " + std::to_string(grid.scale);
  if (grid.zero < kLowestActivation || grid.zero > kHighestActivation)
    return "zero point should lie within -128 .. 127: " + std::to_string(grid.zero);
  return std::nullopt;
}

SpelledFormat split_format(std::string_view spelling) {
  SpelledFormat result;
  std::size_t plus = spelling.find('+');
  result.weights = spelling.substr(0, plus);
  while (plus != std::string_view::npos) {
    const std::size_t begin = plus + 1;
    plus = spelling.find('+', begin);
    const std::string_view part = spelling.substr(begin, plus - begin);
    if (result.parts.empty() && (is_outlier_part(part) || is_sparse_part(part)))
      result.weights = spelling.substr(0, plus);  // belongs to them
    else
      result.parts.push_back(part);
  }
  return result;
}

}  // namespace nibble
