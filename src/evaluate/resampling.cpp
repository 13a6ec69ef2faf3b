// SPDX-License-Identifier: Apache-2.0
#include "evaluate/resampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {

void draw_blocks(const Blocks& blocks, Random& random, std::span<std::uint16_t> times) {
  std::fill(times.begin(), times.end(), std::uint16_t{0});
  for (std::size_t h = 0; h < blocks.strata.size(); ++h) {
    const std::size_t first = blocks.first_of(h), count = blocks.strata[h] - first;
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t& drawn = times[first + random.below(count)];
      if (drawn != 0xffff) ++drawn;
    }
  }
}

Blocks equal_blocks(const std::vector<std::size_t>& windows, std::size_t values_per_window) {
  Blocks blocks;
  for (const std::size_t count : windows) {
    for (std::size_t i = 0; i < count; ++i)
      blocks.ends.push_back((blocks.ends.empty() ? 0 : blocks.ends.back()) + values_per_window);
    if (count > 0) blocks.strata.push_back(blocks.ends.size());
  }
  return blocks;
}

Blocks joined_blocks(const Blocks& blocks, std::size_t length) {
  Blocks joined;
  for (std::size_t h = 0; h < blocks.strata.size(); ++h) {
    const std::size_t first = blocks.first_of(h), count = blocks.strata[h] - first,
                      whole = std::max<std::size_t>(1, count / length);
    for (std::size_t i = 1; i < whole; ++i) joined.ends.push_back(blocks.ends[first + i * length - 1]);
    joined.ends.push_back(blocks.ends[blocks.strata[h] - 1]);
    joined.strata.push_back(joined.ends.size());
  }
  return joined;
}

std::size_t independent_length(std::span<const double> values, const Blocks& blocks) {
  for (std::size_t length = 1;; length *= 2) {
    const Blocks joined = joined_blocks(blocks, length);
    if (joined.count() / 2 < 2 * kFewestBlocks) return length;
    double squares = 0, products = 0;
    for (std::size_t h = 0; h < joined.strata.size(); ++h) {
      std::vector<double> means;
      for (std::size_t b = joined.first_of(h); b < joined.strata[h]; ++b) {
        const auto block = values.subspan(joined.begin(b), joined.size(b));
        means.push_back(std::accumulate(block.begin(), block.end(), 0.0) / static_cast<double>(block.size()));
      }
      const double centre = std::accumulate(means.begin(), means.end(), 0.0) / static_cast<double>(means.size());
      for (std::size_t i = 0; i < means.size(); ++i) {
        squares += (means[i] - centre) * (means[i] - centre);
        if (i > 0) products += (means[i] - centre) * (means[i - 1] - centre);
      }
    }
    if (squares == 0 || products / squares < 1.645 / std::sqrt(static_cast<double>(joined.count()))) return length;
  }
}

SortedBlocks::SortedBlocks(std::span<const double> values, const Blocks& blocks)
    : blocks_(blocks), values_(values.size()), owners_(values.size()) {
  std::vector<std::uint32_t> order(values.size()), owner(values.size());
  std::iota(order.begin(), order.end(), 0u);
  for (std::size_t b = 0; b < blocks.count(); ++b)
    std::fill(owner.begin() + static_cast<std::ptrdiff_t>(blocks.begin(b)),
              owner.begin() + static_cast<std::ptrdiff_t>(blocks.ends[b]), static_cast<std::uint32_t>(b));
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return values[a] != values[b] ? values[a] < values[b] : a < b; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    values_[i] = values[order[i]];
    owners_[i] = owner[order[i]];
  }
}

Certainty SortedBlocks::certainty(double share, double at) const {
  if (blocks_.count() < kFewestBlocks) return Certainty::too_few_blocks;
  if (values_.front() == values_.back()) return Certainty::interval;  // whatever is drawn, the quantile is this value
  std::size_t exceedances = 0;
  std::vector<bool> seen(blocks_.count());
  const auto count = [&](std::size_t i) {
    ++exceedances;
    seen[owners_[i]] = true;
  };
  if (share >= 0.5)
    for (std::size_t i = values_.size(); i-- > 0 && values_[i] > at;) count(i);
  else
    for (std::size_t i = 0; i < values_.size() && values_[i] < at; ++i) count(i);
  // In the bulk a quantile may sit on a tie with little beyond it, yet be well known: only thin tails are judged.
  if (share > 0.1 && share < 0.9) return Certainty::interval;
  const bool enough = exceedances >= kFewestExceedances &&
                      static_cast<std::size_t>(std::count(seen.begin(), seen.end(), true)) >= kFewestExceedingBlocks;
  return enough ? Certainty::interval : Certainty::too_few_exceedances;
}

QuantileSearch::QuantileSearch(const SortedBlocks& sorted, double share) : sorted_(sorted), share_(share) {
  const Blocks& blocks = sorted.blocks();
  const std::size_t n = sorted.values().size();
  const auto centre = static_cast<std::size_t>(share * static_cast<double>(n - 1));
  // How much the share below the quantile varies from resample to resample, from the blocks' own shares.
  residual_.resize(blocks.count());
  for (std::size_t i = 0; i < centre; ++i) residual_[sorted.owners()[i]] += 1;
  double variance = 0;
  for (std::size_t b = 0; b < blocks.count(); ++b) {
    residual_[b] -= share * static_cast<double>(blocks.size(b));
    variance += residual_[b] * residual_[b];
  }
  const double reach = 6 * std::sqrt(variance) + 2;
  first_ = reach < static_cast<double>(centre) ? centre - static_cast<std::size_t>(reach) : 0;
  count_before_.resize(blocks.count());
  for (std::size_t i = 0; i < first_; ++i) ++count_before_[sorted.owners()[i]];
}

double QuantileSearch::find(std::span<const std::uint16_t> times) const {
  const Blocks& blocks = sorted_.blocks();
  std::uint64_t total = 0, before = 0;
  for (std::size_t b = 0; b < blocks.count(); ++b) {
    total += std::uint64_t{times[b]} * blocks.size(b);
    before += std::uint64_t{times[b]} * count_before_[b];
  }
  const double exact = share_ * static_cast<double>(total - 1);
  const auto place = static_cast<std::uint64_t>(exact);
  const double part = exact - static_cast<double>(place);
  return before <= place ? find_from(first_, before, place, part, times) : find_from(0, 0, place, part, times);
}

double QuantileSearch::find_from(std::size_t first, std::uint64_t before, std::uint64_t place, double part,
                                 std::span<const std::uint16_t> times) const {
  const auto values = sorted_.values();
  const auto owners = sorted_.owners();
  std::size_t i = first;
  for (std::uint64_t seen = before; i < values.size(); ++i) {
    seen += times[owners[i]];
    if (seen <= place) continue;
    if (seen > place + 1 || part == 0) return values[i];
    // The next value that was drawn at all.
    std::size_t next = i + 1;
    while (next < values.size() && times[owners[next]] == 0) ++next;
    return next < values.size() ? (1 - part) * values[i] + part * values[next] : values[i];
  }
  return values.back();
}

}  // namespace nibble
