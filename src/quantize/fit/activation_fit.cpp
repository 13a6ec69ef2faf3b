// SPDX-License-Identifier: Apache-2.0
#include "quantize/fit/activation_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "format/clip.h"
#include "nibble/error.h"
#include "quantize/fit/fit_rule.h"

namespace nibble {
namespace {

// Values between low and high, uniformly.
struct Bin {
  double low, high, count;
};

// Always holds 0.
struct Range {
  double low, high;
};

void require(const SiteStatistics& site, ActivationFormat format) {
  const bool complete = !site.histogram.empty() && !site.absmax.empty() && (!format.is_asymmetric || site.has_signs());
  if (!complete)
    throw Error(
        ErrorKind::unusable_input,
        fmt::format("a grid for activations needs what 'nibble calibrate' now records of their distribution, not "
                    "an importance matrix or older statistics; calibrate again: site {}",
                    site.name()));
}

Range seen(const SiteStatistics& site) {
  if (site.has_signs()) return {static_cast<double>(site.lowest), static_cast<double>(site.highest)};
  const double largest = static_cast<double>(*std::ranges::max_element(site.absmax));
  return {-largest, largest};
}

// Ascending. Where signs are not known, each is as likely.
std::vector<Bin> distribution(const SiteStatistics& site) {
  const Range range = seen(site);
  std::vector<Bin> bins;
  const auto put = [&](double low, double high, double count) {
    if (count == 0) return;
    low = std::clamp(low, range.low, range.high);
    bins.push_back({low, std::max(low, std::clamp(high, range.low, range.high)), count});
  };
  const auto edge = [&](std::size_t bin) {
    return bin == kHistogramBins ? std::max(-range.low, range.high) : static_cast<double>(histogram_edge(bin));
  };
  const auto negatives = [&](std::size_t bin) {
    return site.has_signs() ? static_cast<double>(site.negatives[bin]) : 0.5 * static_cast<double>(site.histogram[bin]);
  };
  for (std::size_t bin = kHistogramBins; bin-- > 0;) put(-edge(bin + 1), -edge(bin), negatives(bin));
  for (std::size_t bin = 0; bin < kHistogramBins; ++bin)
    put(edge(bin), edge(bin + 1), static_cast<double>(site.histogram[bin]) - negatives(bin));
  return bins;
}

ActivationGrid grid_of(Range range, bool is_asymmetric) {
  const double width = is_asymmetric ? range.high - range.low : std::max(-range.low, range.high);
  const double scale = width / (is_asymmetric ? kHighestActivation - kLowestActivation : kHighestActivation);
  if (!(scale >= static_cast<double>(kSmallestActivationScale))) return {};  // all zeros, whatever the scale
  const double zero = is_asymmetric ? std::nearbyint(kLowestActivation - range.low / scale) : 0;
  return {static_cast<float>(scale), static_cast<std::int32_t>(zero)};
}

double squared_error(const std::vector<Bin>& bins, const ActivationGrid& grid) {
  constexpr int kPoints = 16;  // of a bin
  const double scale = static_cast<double>(grid.scale), zero = grid.zero;
  double sum = 0;
  for (const Bin& bin : bins)
    for (int i = 0; i < kPoints; ++i) {
      const double x = bin.low + (bin.high - bin.low) * (i + 0.5) / kPoints;
      const double code = std::clamp(std::nearbyint(x / scale) + zero, static_cast<double>(kLowestActivation),
                                     static_cast<double>(kHighestActivation));
      const double error = x - scale * (code - zero);
      sum += bin.count * error * error / kPoints;
    }
  return sum;
}

// The value below which the share lies.
double quantile(const std::vector<Bin>& bins, double share) {
  double total = 0, below = 0;
  for (const Bin& bin : bins) total += bin.count;
  for (const Bin& bin : bins) {
    if (below + bin.count >= share * total)
      return bin.low + (bin.high - bin.low) * std::clamp((share * total - below) / bin.count, 0.0, 1.0);
    below += bin.count;
  }
  return bins.empty() ? 0 : bins.back().high;
}

// Magnitudes in bins of equal width, up to the largest.
double entropy_range(const std::vector<Bin>& bins, double largest) {
  constexpr std::size_t kBins = 2048;
  constexpr std::size_t kLevels = 128;
  std::vector<double> histogram(kBins, 0.0);
  const double width = largest / kBins;
  for (const Bin& bin : bins) {
    const double low = std::min(std::fabs(bin.low), std::fabs(bin.high)),
                 high = std::max(std::fabs(bin.low), std::fabs(bin.high));
    const auto first = std::min(kBins - 1, static_cast<std::size_t>(low / width)),
               last = std::min(kBins - 1, static_cast<std::size_t>(high / width));
    for (std::size_t i = first; i <= last; ++i) {
      const double begin = std::max(low, static_cast<double>(i) * width),
                   end = std::min(high, static_cast<double>(i + 1) * width);
      histogram[i] += first == last ? bin.count : bin.count * std::max(0.0, end - begin) / (high - low);
    }
  }
  return largest * static_cast<double>(entropy_cut(histogram, kLevels)) / kBins;
}

// Both ends are drawn in together, then each by itself, in steps of an eighth of an octave and then of a hundredth.
Range search(const std::vector<Bin>& bins, Range range, bool is_asymmetric) {
  Range best = range;
  double least = squared_error(bins, grid_of(range, is_asymmetric));
  const auto attempt = [&](Range candidate) {
    const double error = squared_error(bins, grid_of(candidate, is_asymmetric));
    if (error >= least) return;
    least = error;
    best = candidate;
  };
  for (int step = 1; step < 80; ++step)
    attempt({range.low * std::exp2(-step / 8.0), range.high * std::exp2(-step / 8.0)});
  const auto refine = [&](bool low, bool high) {
    const Range middle = best;
    for (int step = -8; step <= 8; ++step) {
      const double factor = std::exp2(step / 64.0);
      attempt({std::max(range.low, low ? middle.low * factor : middle.low),
               std::min(range.high, high ? middle.high * factor : middle.high)});
    }
  };
  refine(true, true);
  for (int round = 0; round < 2 && is_asymmetric; ++round) {
    refine(true, false);
    refine(false, true);
  }
  return best;
}

}  // namespace

double mean_squared_rounding(const SiteStatistics& site, const ActivationGrid& grid) {
  const std::vector<Bin> bins = distribution(site);
  double count = 0;
  for (const Bin& bin : bins) count += bin.count;
  return count == 0 ? 0 : squared_error(bins, grid) / count;
}

ActivationGrid fit_activation_grid(const SiteStatistics& site, ActivationFormat format, const FitOptions& fit) {
  require(site, format);
  Range range = seen(site);
  const std::vector<Bin> bins = distribution(site);
  const double largest = std::max(-range.low, range.high);
  if (!(largest > 0)) return {};
  switch (fit.rule) {
    case FitRule::absmax:
    case FitRule::minmax:
    case FitRule::exact:
      break;
    case FitRule::automatic:
    case FitRule::search:
      range = search(bins, range, format.is_asymmetric);
      break;
    case FitRule::percentile: {
      // The share of magnitudes inside: of the two ends taken together where the grid has the same reach at both.
      if (format.is_asymmetric) {
        const double outside = (1 - fit.percentile / 100) / 2;
        range = {std::min(0.0, quantile(bins, outside)), std::max(0.0, quantile(bins, 1 - outside))};
        break;
      }
      std::vector<Bin> magnitudes;
      for (const Bin& bin : bins) magnitudes.push_back(bin.high <= 0 ? Bin{-bin.high, -bin.low, bin.count} : bin);
      std::ranges::sort(magnitudes, {}, &Bin::low);
      const double reach = quantile(magnitudes, fit.percentile / 100);
      range = {-reach, reach};
      break;
    }
    case FitRule::entropy: {
      const double reach = entropy_range(bins, largest);
      range = {std::max(range.low, -reach), std::min(range.high, reach)};
      break;
    }
    case FitRule::absmean:
    case FitRule::threshold:
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a rule for weights; activations are fitted by absmax, percentile, search or entropy: {}",
                              fit_name(fit.rule)));
  }
  return grid_of(range, format.is_asymmetric);
}

}  // namespace nibble
