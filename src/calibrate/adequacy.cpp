// SPDX-License-Identifier: Apache-2.0
#include "calibrate/adequacy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "kernels/dense/dense.h"

namespace nibble {
namespace {

// Fewer vectors than this for each column leave the small eigenvalues to chance.
constexpr double kEnoughVectors = 4;

std::uint64_t dead_columns(const SiteStatistics& site) {
  return static_cast<std::uint64_t>(std::ranges::count(site.mean_square, 0.0F));
}

double vectors_per_column(const SiteStatistics& site) {
  return static_cast<double>(site.count) / static_cast<double>(std::max<std::size_t>(1, site.width()));
}

double effective_rank(const SiteStatistics& site) {
  double trace = 0, squares = 0;
  for (const float value : site.mean_square) trace += static_cast<double>(value);
  for (const float value : site.second_moment) squares += static_cast<double>(value) * static_cast<double>(value);
  return squares > 0 ? trace * trace / squares : 0;
}

double condition(const SiteStatistics& site, Machine& machine) {
  const std::size_t n = site.width();
  std::vector<double> factor(site.second_moment.begin(), site.second_moment.end());
  if (cholesky(factor.data(), n, machine) != n) return std::numeric_limits<double>::infinity();
  double smallest = std::numeric_limits<double>::infinity(), largest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    smallest = std::min(smallest, factor[i * n + i]);
    largest = std::max(largest, factor[i * n + i]);
  }
  return largest * largest / (smallest * smallest);
}

SiteAdequacy judge_site(const SiteStatistics& site, Machine& machine) {
  SiteAdequacy result;
  result.site = site.name();
  result.count = site.count;
  result.width = site.width();
  result.vectors_per_column = vectors_per_column(site);
  std::vector<float> sorted = site.mean_square;
  std::ranges::sort(sorted);
  result.dead_columns = dead_columns(site);
  const float median = sorted[sorted.size() / 2];
  result.peak_ratio = median > 0 ? std::sqrt(static_cast<double>(sorted.back()) / static_cast<double>(median)) : 0;
  if (site.has_second_moment()) {
    result.effective_rank = effective_rank(site);
    result.condition = condition(site, machine);
  }
  result.warning = site_warning(site, true);
  return result;
}

}  // namespace

std::string site_warning(const SiteStatistics& site, bool counts_known) {
  const double vectors = counts_known ? vectors_per_column(site) : kEnoughVectors;
  if (vectors < 1)
    return fmt::format("fewer vectors than columns ({} for {}): use more or longer samples", site.count, site.width());
  if (vectors < kEnoughVectors) return fmt::format("only {:.1f} vectors a column: use more samples", vectors);
  if (const std::uint64_t dead = dead_columns(site); dead > 0)
    return fmt::format("{} of {} columns were never used by this text", dead, site.width());
  return {};
}

std::vector<std::string> warning_lines(const std::vector<SiteWarning>& warnings) {
  std::map<std::string, std::vector<std::string>> sites;
  for (const SiteWarning& item : warnings)
    if (!item.warning.empty()) sites[item.warning].push_back(item.site);
  std::vector<std::string> lines;
  for (const auto& [warning, names] : sites)
    lines.push_back(names.size() == 1
                        ? names.front() + ": " + warning
                        : fmt::format("{} and {} more sites: {}", names.front(), names.size() - 1, warning));
  return lines;
}

std::vector<std::string> statistics_warnings(const Statistics& statistics) {
  std::vector<SiteWarning> warnings;
  for (const SiteStatistics& site : statistics.sites)
    warnings.push_back({site.name(), site_warning(site, statistics.length != 0)});
  return warning_lines(warnings);
}

std::vector<SiteAdequacy> judge_statistics(const Statistics& statistics, Machine& machine) {
  std::vector<SiteAdequacy> result;
  for (const SiteStatistics& site : statistics.sites)
    if (site.width() > 0) result.push_back(judge_site(site, machine));
  return result;
}

}  // namespace nibble
