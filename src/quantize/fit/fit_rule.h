// SPDX-License-Identifier: Apache-2.0
//
// The second stage of a method: how the grid of a span is chosen. The rules themselves belong to the formats (only a
// format knows which grids it can store); here are their names.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "format/format.h"

namespace nibble {

struct NamedFit {
  std::string_view name;
  FitRule rule;
  std::string_view description;
};

// Every rule, in the order in which help shows them.
std::span<const NamedFit> list_fits();

std::string_view fit_name(FitRule rule);

// "search", "percentile:99.9".
std::string fit_spelling(const FitOptions& fit);

// What a user wrote: a name, for percentile with a share after a colon. Error(invalid_argument) lists the known names.
FitOptions find_fit(std::string_view spelling);

}  // namespace nibble
