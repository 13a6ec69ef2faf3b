// SPDX-License-Identifier: Apache-2.0
//
// Experts that few tokens were sent to: what was seen of their inputs is shrunk towards what all experts of the layer
// see (pooled), as Friedman (1989) regularizes the covariances of small classes. The share of the pooled moment P in
// the result is the one of least expected error of Ledoit and Wolf (2004), the squared error of the n vectors' own
// moment S over its squared distance from P,
//
//   min(1, (tr(S)^2 + |S|^2) / n / |S - P|^2),
//
// with the error of vectors that are normally distributed (Chen, Wiesel, Eldar and Hero 2010). Where only the means of
// squares s_i are known it is 2 |s|^2 / n. Pure functions.
//
//   if (saw_few(expert)) expert = shrink(std::move(expert), pooled, pooled_share(expert, pooled));
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quantize/statistics.h"

namespace nibble {

// Vectors for each column below which an expert's moment is shrunk: fewer leave the small eigenvalues to chance.
inline constexpr double kEnoughVectors = 4;
bool are_few(std::uint64_t vectors, std::uint64_t width);
bool saw_few(const SiteStatistics& expert);

// Of experts' own statistics, which have second moments, all of them or none: means weighed by their vectors. Their key
// is that of the site. Experts is not empty.
SiteStatistics pool_experts(std::span<const SiteStatistics* const> experts);

// 0 .. 1; 1 where nothing was seen.
double pooled_share(const SiteStatistics& expert, const SiteStatistics& pooled);

// (1 - share) * own + share * pooled, of mean squares and second moments. What was never seen has the pooled ranges,
// too.
SiteStatistics shrink(SiteStatistics expert, const SiteStatistics& pooled, double share);

// What a site's experts see together; nullopt where statistics have none of them.
std::optional<SiteStatistics> pool_site(const Statistics& statistics, std::int64_t layer, std::string_view site);
// What a site's experts see together, where one of them saw too few; nullopt where none did, and where statistics know
// no length, whose counts are of something else than vectors.
std::optional<SiteStatistics> pool_where_few(const Statistics& statistics, std::int64_t layer, std::string_view site);

// Those of a site's experts, whose statistics are all here, that saw too few; other statistics stay as they are.
void shrink_few(std::vector<SiteStatistics>& experts);

}  // namespace nibble
