// SPDX-License-Identifier: Apache-2.0
//
// Whether a calibration text was enough, judged site by site.
//
//   for (const SiteAdequacy& site : judge_statistics(statistics, machine)) if (!site.warning.empty()) ...
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/machine.h"
#include "nibble/calibrate.h"
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

// Of statistics that were read, whoever made them.
std::vector<std::string> statistics_warnings(const Statistics& statistics);

std::vector<SiteAdequacy> judge_statistics(const Statistics& statistics, Machine& machine);

}  // namespace nibble
