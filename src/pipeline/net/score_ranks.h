// SPDX-License-Identifier: Apache-2.0
//
// What is judged by order alone: scores that should tell two kinds apart, and scores that should order alike. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nibble {

// Ranks from 1 in ascending order; equal scores share the mean of theirs.
std::vector<double> ranks_of(std::span<const double> scores);

// The area under the receiver operating characteristic: the share of pairs of a sample labelled 1 and one labelled 0 of
// which the first has the larger score, ties half (Mann and Whitney 1947). Nothing: one kind is missing, or there are
// other labels.
std::optional<double> area_under_curve(std::span<const double> scores, std::span<const std::int64_t> labels);

// Spearman's: the correlation of ranks. Nothing: fewer than two scores, or all of one list equal.
std::optional<double> rank_correlation(std::span<const double> a, std::span<const double> b);

}  // namespace nibble
