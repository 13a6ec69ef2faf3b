// SPDX-License-Identifier: Apache-2.0
#include "calibrate/adequacy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "kernels/dense/dense.h"
#include "quantize/pooled_moment.h"

namespace nibble {
namespace {

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
  result.site = SiteKey{site.layer, site.site}.name();
  result.expert = site.expert;
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
  if (site.expert >= 0) return {};  // experts_warning tells of all of them
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

ExpertTokens summarize_tokens(std::int64_t layer, std::span<const std::uint64_t> tokens, std::uint64_t width) {
  ExpertTokens result{.layer = layer, .experts = tokens.size()};
  for (std::size_t e = 0; e < tokens.size(); ++e) {
    if (tokens[e] == 0) result.unused.push_back(e);
    result.few += are_few(tokens[e], width) ? 1 : 0;
  }
  result.used = tokens.size() - result.unused.size();
  std::vector<std::uint64_t> sorted(tokens.begin(), tokens.end());
  std::ranges::sort(sorted);
  result.fewest = sorted.front();
  result.median = sorted[sorted.size() / 2];
  result.most = sorted.back();
  return result;
}

std::vector<ExpertTokens> expert_tokens(const Statistics& statistics) {
  struct Layer {
    std::map<std::int64_t, std::uint64_t> tokens;  // by expert
    std::uint64_t width = 0;
  };
  std::map<std::int64_t, Layer> layers;
  for (const SiteStatistics& site : statistics.sites) {
    if (site.expert < 0) continue;
    Layer& layer = layers[site.layer];
    layer.tokens[site.expert] = site.count;
    layer.width = std::max<std::uint64_t>(layer.width, site.width());
  }
  std::vector<ExpertTokens> result;
  for (const auto& [index, layer] : layers) {
    std::vector<std::uint64_t> tokens;
    for (const auto& [expert, count] : layer.tokens) tokens.push_back(count);
    result.push_back(summarize_tokens(index, tokens, layer.width));
  }
  return result;
}

std::string experts_warning(std::span<const ExpertTokens> layers) {
  std::uint64_t experts = 0, few = 0;
  const ExpertTokens* least = nullptr;
  for (const ExpertTokens& layer : layers) {
    experts += layer.experts;
    few += layer.few;
    if (least == nullptr || layer.fewest < least->fewest) least = &layer;
  }
  if (few == 0) return {};
  return fmt::format(
      "{} of {} experts were sent too few tokens, {} the fewest (in layer {}), and are rounded for what they saw and "
      "in part for what all experts of their layer see: use more samples",
      few, experts, least->fewest, least->layer);
}

std::vector<std::string> statistics_warnings(const Statistics& statistics) {
  std::vector<SiteWarning> warnings;
  for (const SiteStatistics& site : statistics.sites)
    warnings.push_back({site.name(), site_warning(site, statistics.length != 0)});
  std::vector<std::string> lines = warning_lines(warnings);
  if (statistics.length != 0)
    if (std::string line = experts_warning(expert_tokens(statistics)); !line.empty()) lines.push_back(std::move(line));
  return lines;
}

std::vector<SiteAdequacy> judge_statistics(const Statistics& statistics, Machine& machine) {
  std::vector<SiteAdequacy> result;
  for (const SiteStatistics& site : statistics.sites)
    if (site.width() > 0) result.push_back(judge_site(site, machine));
  return result;
}

}  // namespace nibble
