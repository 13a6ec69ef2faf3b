// SPDX-License-Identifier: Apache-2.0
//
// Whether a calibration text was enough, judged site by site.
//
//   for (const SiteAdequacy& site : judge_statistics(statistics, machine)) if (!site.warning.empty()) ...
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/machine.h"
#include "nibble/calibrate.h"
#include "nibble/quantize.h"
#include "quantize/statistics.h"

namespace nibble {

// Why what was seen of a site is too little; empty: it is enough. counts_known: site.count is a number of vectors (of
// some importance matrices it is one of texts).
std::string site_warning(const SiteStatistics& site, bool counts_known);

struct SiteWarning {
  std::string site, warning;
};
// A line for each kind of warning; sites with the same one share it. Empty warnings are left out.
std::vector<std::string> warning_lines(const std::vector<SiteWarning>& warnings);

// tokens: of each of the layer's experts, one at least; width: the largest of their sites'.
ExpertTokens summarize_tokens(std::int64_t layer, std::span<const std::uint64_t> tokens, std::uint64_t width);
// Of the layers whose experts the statistics know, in order.
std::vector<ExpertTokens> expert_tokens(const Statistics& statistics);
// Says which experts saw too few, in a line for all layers; empty: none did.
std::string experts_warning(std::span<const ExpertTokens> layers);

// Of statistics that were read, whoever made them.
std::vector<std::string> statistics_warnings(const Statistics& statistics);

std::vector<SiteAdequacy> judge_statistics(const Statistics& statistics, Machine& machine);

}  // namespace nibble
