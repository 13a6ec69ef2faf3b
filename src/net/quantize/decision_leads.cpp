// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/decision_leads.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace nibble {
namespace {

void over_rows(const SampleValues& values, std::uint64_t width, const auto& visit) {
  for (std::size_t sample = 0; sample < values.size(); ++sample)
    for (std::size_t first = 0; width > 0 && first + width <= values[sample].size(); first += width)
      visit(sample, first, std::span(values[sample]).subspan(first, width));
}

std::size_t largest_of(std::span<const float> row) {
  return static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
}

}  // namespace

void DecisionLeads::add(const SampleValues& values) {
  over_rows(values, width_, [&](std::size_t, std::size_t, std::span<const float> row) {
    if (row.size() == 1) return leads_.push_back(std::abs(row[0] - threshold_));
    const std::size_t largest = largest_of(row);
    float next = -std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < row.size(); ++i)
      if (i != largest) next = std::max(next, row[i]);
    leads_.push_back(row[largest] - next);
  });
}

std::uint64_t DecisionLeads::below(double lead) const {
  return static_cast<std::uint64_t>(
      std::ranges::count_if(leads_, [&](float one) { return static_cast<double>(one) < lead; }));
}

double DecisionLeads::deviation(const SampleValues& made, const SampleValues& should) const {
  double squares = 0;
  std::uint64_t count = 0;
  over_rows(should, width_, [&](std::size_t sample, std::size_t first, std::span<const float> row) {
    const std::span<const float> noisy = std::span(made[sample]).subspan(first, width_);
    const auto noise = [&](std::size_t i) { return static_cast<double>(noisy[i]) - static_cast<double>(row[i]); };
    const std::size_t largest = row.size() == 1 ? 1 : largest_of(row);
    const double of_largest = row.size() == 1 ? 0 : noise(largest);
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == largest) continue;
      squares += (of_largest - noise(i)) * (of_largest - noise(i));
      ++count;
    }
  });
  return count == 0 ? 0 : std::sqrt(squares / static_cast<double>(count));
}

}  // namespace nibble
