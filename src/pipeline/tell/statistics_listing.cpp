// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/statistics_listing.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "calibrate/adequacy.h"
#include "calibrate/imatrix_file.h"
#include "calibrate/statistics_file.h"
#include "io/checkpoint.h"
#include "nibble/error.h"

namespace nibble {
namespace {

void set_counts(StatisticsEntry& entry, std::vector<std::uint64_t> counts) {
  std::ranges::sort(counts);
  entry.fewest = counts.front();
  entry.median = counts[counts.size() / 2];
  entry.most = counts.back();
}

void list_own(const std::filesystem::path& path, StatisticsListing& listing) {
  Statistics statistics = read_statistics(path);
  listing.form = "statistics";
  listing.texts = std::move(statistics.texts);
  listing.samples = statistics.samples;
  listing.length = statistics.length;
  listing.experts = expert_tokens(statistics);
  for (std::size_t i = 0; i < statistics.sites.size();) {
    const SiteStatistics& site = statistics.sites[i];
    StatisticsEntry& entry = listing.entries.emplace_back();
    entry.name = SiteKey{site.layer, site.site}.name();
    entry.columns = site.width();
    entry.has_second_moment = site.has_second_moment();
    std::vector<std::uint64_t> counts;
    // A site's experts stand side by side.
    for (; i < statistics.sites.size(); ++i) {
      const SiteStatistics& other = statistics.sites[i];
      if (other.layer != site.layer || other.site != site.site || (other.expert >= 0) != (site.expert >= 0)) break;
      counts.push_back(other.count);
    }
    entry.experts = site.expert < 0 ? 0 : counts.size();
    set_counts(entry, std::move(counts));
  }
}

// Of "blk.3.ffn_gate_exps.weight" 3.
std::optional<std::int64_t> layer_of(std::string_view weight) {
  constexpr std::string_view kPrefix = "blk.";
  std::int64_t layer = 0;
  if (!weight.starts_with(kPrefix)) return std::nullopt;
  const char* const end = weight.data() + weight.size();
  const auto [stop, error] = std::from_chars(weight.data() + kPrefix.size(), end, layer);
  return error == std::errc() && stop != end && *stop == '.' ? std::optional(layer) : std::nullopt;
}

void list_imatrix(const std::filesystem::path& path, StatisticsListing& listing) {
  Imatrix imatrix = read_imatrix_entries(path);
  listing.texts = std::move(imatrix.texts);
  listing.samples = imatrix.samples;
  listing.length = imatrix.length;
  std::map<std::int64_t, std::pair<std::vector<std::uint64_t>, std::uint64_t>> layers;  // tokens, the widest input
  for (const auto& [name, given] : imatrix.entries) {
    if (given.counts.empty()) continue;
    StatisticsEntry& entry = listing.entries.emplace_back();
    entry.name = name;
    entry.columns = given.mean_square.size() / given.counts.size();
    entry.experts = given.counts.size() > 1 ? given.counts.size() : 0;
    set_counts(entry, given.counts);
    if (const auto layer = layer_of(name); layer && entry.experts != 0) {
      auto& [tokens, width] = layers[*layer];
      tokens = given.counts;
      width = std::max(width, entry.columns);
    }
  }
  for (const auto& [layer, seen] : layers) listing.experts.push_back(summarize_tokens(layer, seen.first, seen.second));
}

}  // namespace

bool is_statistics(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  try {
    switch (statistics_form(path)) {
      case StatisticsForm::own:
        return is_statistics_file(path);
      case StatisticsForm::gguf_imatrix:
        return Checkpoint::open(path).gguf().string("general.type") == "imatrix";
      case StatisticsForm::dat_imatrix:
        return is_imatrix_name(path);
    }
  } catch (const Error&) {
    // Whoever opens it as a model says what is wrong with it.
  }
  return false;
}

StatisticsListing list_statistics(const std::filesystem::path& path) {
  StatisticsListing listing;
  listing.bytes = std::filesystem::file_size(path);
  const StatisticsForm form = statistics_form(path);
  if (form == StatisticsForm::own) {
    list_own(path, listing);
  } else {
    listing.form = form == StatisticsForm::gguf_imatrix ? "importance matrix (GGUF)" : "importance matrix (.dat)";
    list_imatrix(path, listing);
  }
  return listing;
}

}  // namespace nibble
