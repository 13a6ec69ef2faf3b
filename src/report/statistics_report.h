// SPDX-License-Identifier: Apache-2.0
//
// What calibration saw, in tables and as JSON.
//
//   std::string text = entries_table(listing).text(style) + experts_table(listing.experts).text(style);
#pragma once

#include <span>

#include "pipeline/tell/statistics_listing.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

// A line for each layer: how many tokens its experts were sent.
Table experts_table(std::span<const ExpertTokens> layers);
Json experts_json(std::span<const ExpertTokens> layers);

Table entries_table(const StatisticsListing& listing);
Json to_json(const StatisticsListing& listing);

}  // namespace nibble
