// SPDX-License-Identifier: Apache-2.0
#include "report/statistics_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "report/number_text.h"

namespace nibble {
namespace {

std::string numbers_text(const std::vector<std::uint64_t>& numbers) {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, numbers.size()); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
  return numbers.size() <= kShown ? text : text + fmt::format(" and {} more", numbers.size() - kShown);
}

}  // namespace

Table experts_table(std::span<const ExpertTokens> layers) {
  Table table({{"tokens sent to experts"},
               {"experts", Align::right},
               {"fewest", Align::right},
               {"median", Align::right},
               {"most", Align::right},
               {"too few", Align::right},
               {"none", Align::right},
               {"sent to none of"}});
  for (const ExpertTokens& layer : layers)
    table.add({fmt::format("layer {}", layer.layer), std::to_string(layer.experts), grouped_text(layer.fewest),
               grouped_text(layer.median), grouped_text(layer.most), std::to_string(layer.few),
               std::to_string(layer.unused.size()), numbers_text(layer.unused)});
  return table;
}

Json experts_json(std::span<const ExpertTokens> layers) {
  Json list = Json::array();
  for (const ExpertTokens& layer : layers)
    list.push_back({{"layer", layer.layer},
                    {"experts", layer.experts},
                    {"used", layer.used},
                    {"few", layer.few},
                    {"fewest_tokens", layer.fewest},
                    {"median_tokens", layer.median},
                    {"most_tokens", layer.most},
                    {"unused", layer.unused}});
  return list;
}

Table entries_table(const StatisticsListing& listing) {
  Table table({{"inputs of"},
               {"columns", Align::right},
               {"experts", Align::right},
               {"vectors", Align::right},
               {"median", Align::right},
               {"second moment"}});
  for (const StatisticsEntry& entry : listing.entries) {
    table.add({entry.name, std::to_string(entry.columns), entry.experts == 0 ? "" : std::to_string(entry.experts),
               range_text(grouped_text(entry.fewest), grouped_text(entry.most)),
               entry.experts == 0 ? "" : grouped_text(entry.median), entry.has_second_moment ? "whole" : "diagonal"});
  }
  return table;
}

Json to_json(const StatisticsListing& listing) {
  Json json = {{"form", listing.form},     {"texts", listing.texts}, {"samples", listing.samples},
               {"length", listing.length}, {"bytes", listing.bytes}, {"sites", Json::array()}};
  for (const StatisticsEntry& entry : listing.entries)
    json["sites"].push_back({{"name", entry.name},
                             {"columns", entry.columns},
                             {"experts", entry.experts},
                             {"fewest_vectors", entry.fewest},
                             {"median_vectors", entry.median},
                             {"most_vectors", entry.most},
                             {"second_moment", entry.has_second_moment}});
  json["experts"] = experts_json(listing.experts);
  return json;
}

}  // namespace nibble
