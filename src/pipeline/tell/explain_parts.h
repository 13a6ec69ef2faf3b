// SPDX-License-Identifier: Apache-2.0
//
// The words and the arithmetic of explain_format: what a grid's numbers come from, how a number becomes a code, with
// the numbers put in. All functions are pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/tell/explain.h"

namespace nibble {

// Whether the grid's range always includes 0: not where a bias is stored.
bool holds_zero(const Format& format);

std::string explained_number(double value);  // up to six significant digits: "-2.5", "0.0215686"

// The evenly spaced points at this column; nothing where they are uneven, fewer than three, or vectors.
std::optional<EvenPoints> find_even_points(const Format& format, const std::byte* grid, std::size_t column);

// The numbers of the grid at column 0 in the order in which they are found. low, high: the range, 0 included
// where holds_zero.
std::vector<ExplainedStep> explain_grid(const Format& format, const std::byte* grid, float low, float high,
                                        const FitOptions& fit);

// How x becomes a code and back, as a formula for column 0.
std::string explain_rule(const Format& format, const std::byte* grid);

// The formula for one number, whose given, code and decoded are set.
std::string explain_code(const Format& format, const std::byte* grid, std::size_t column,
                         const ExplainedNumber& number);

// Asymmetric integers only. The example is the number of the largest magnitude.
std::optional<ZeroPoints> explain_zero_points(const Format& format, const std::byte* grid,
                                              std::span<const float> numbers);

}  // namespace nibble
