// SPDX-License-Identifier: Apache-2.0
#include "quantize/pooled_moment.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace nibble {
namespace {

double squared(double x) { return x * x; }

void mix(std::vector<float>& own, const std::vector<float>& pooled, double share) {
  for (std::size_t i = 0; i < own.size(); ++i)
    own[i] = static_cast<float>((1 - share) * static_cast<double>(own[i]) + share * static_cast<double>(pooled[i]));
}

void add_weighted(std::vector<double>& sums, const std::vector<float>& values, double weight) {
  sums.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) sums[i] += weight * static_cast<double>(values[i]);
}

}  // namespace

bool are_few(std::uint64_t vectors, std::uint64_t width) {
  return static_cast<double>(vectors) < kEnoughVectors * static_cast<double>(width);
}

bool saw_few(const SiteStatistics& expert) { return are_few(expert.count, expert.width()); }

SiteStatistics pool_experts(std::span<const SiteStatistics* const> experts) {
  SiteStatistics pooled;
  static_cast<SiteKey&>(pooled) = *experts.front();
  pooled.expert = -1;
  for (const SiteStatistics* const expert : experts) pooled.count += expert->count;
  std::vector<double> squares, moments;
  for (const SiteStatistics* const expert : experts) {
    const double weight =
        pooled.count == 0 ? 0 : static_cast<double>(expert->count) / static_cast<double>(pooled.count);
    add_weighted(squares, expert->mean_square, weight);
    add_weighted(moments, expert->second_moment, weight);
    pooled.absmax.resize(expert->absmax.size());
    for (std::size_t i = 0; i < expert->absmax.size(); ++i)
      pooled.absmax[i] = std::max(pooled.absmax[i], expert->absmax[i]);
    pooled.histogram.resize(expert->histogram.size());
    for (std::size_t i = 0; i < expert->histogram.size(); ++i) pooled.histogram[i] += expert->histogram[i];
    pooled.negatives.resize(expert->negatives.size());
    for (std::size_t i = 0; i < expert->negatives.size(); ++i) pooled.negatives[i] += expert->negatives[i];
    pooled.lowest = std::min(pooled.lowest, expert->lowest);
    pooled.highest = std::max(pooled.highest, expert->highest);
  }
  pooled.mean_square.assign(squares.begin(), squares.end());
  pooled.second_moment.assign(moments.begin(), moments.end());
  return pooled;
}

double pooled_share(const SiteStatistics& expert, const SiteStatistics& pooled) {
  if (expert.count == 0) return 1;
  const bool full = expert.has_second_moment() && pooled.has_second_moment();
  const std::vector<float>&own = full ? expert.second_moment : expert.mean_square,
        &all = full ? pooled.second_moment : pooled.mean_square;
  double trace = 0, squares = 0, distance = 0;
  for (const float value : expert.mean_square) trace += static_cast<double>(value);
  for (std::size_t i = 0; i < own.size(); ++i) {
    squares += squared(static_cast<double>(own[i]));
    distance += squared(static_cast<double>(own[i]) - static_cast<double>(all[i]));
  }
  const double error = (full ? squared(trace) + squares : 2 * squares) / static_cast<double>(expert.count);
  return error < distance ? error / distance : 1;
}

SiteStatistics shrink(SiteStatistics expert, const SiteStatistics& pooled, double share) {
  mix(expert.mean_square, pooled.mean_square, share);
  if (pooled.has_second_moment()) mix(expert.second_moment, pooled.second_moment, share);
  if (expert.count != 0) return expert;
  expert.absmax = pooled.absmax;
  expert.histogram = pooled.histogram;
  expert.negatives = pooled.negatives;
  expert.lowest = pooled.lowest;
  expert.highest = pooled.highest;
  return expert;
}

namespace {

std::vector<const SiteStatistics*> experts_of(const Statistics& statistics, std::int64_t layer, std::string_view site) {
  std::vector<const SiteStatistics*> experts;
  for (const SiteStatistics& seen : statistics.sites)
    if (seen.layer == layer && seen.expert >= 0 && seen.site == site) experts.push_back(&seen);
  return experts;
}

}  // namespace

std::optional<SiteStatistics> pool_site(const Statistics& statistics, std::int64_t layer, std::string_view site) {
  const std::vector<const SiteStatistics*> experts = experts_of(statistics, layer, site);
  if (experts.empty()) return std::nullopt;
  return pool_experts(experts);
}

std::optional<SiteStatistics> pool_where_few(const Statistics& statistics, std::int64_t layer, std::string_view site) {
  if (statistics.length == 0) return std::nullopt;
  const std::vector<const SiteStatistics*> experts = experts_of(statistics, layer, site);
  if (std::ranges::none_of(experts, [](const SiteStatistics* expert) { return saw_few(*expert); })) return std::nullopt;
  return pool_experts(experts);
}

void shrink_few(std::vector<SiteStatistics>& experts) {
  if (experts.front().expert < 0 || std::ranges::none_of(experts, saw_few)) return;
  std::vector<const SiteStatistics*> all;
  for (const SiteStatistics& expert : experts) all.push_back(&expert);
  const SiteStatistics pooled = pool_experts(all);
  for (SiteStatistics& expert : experts)
    if (saw_few(expert)) expert = shrink(std::move(expert), pooled, pooled_share(expert, pooled));
}

}  // namespace nibble
