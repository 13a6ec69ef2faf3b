// SPDX-License-Identifier: Apache-2.0
#include "quantize/budget.h"

#include <algorithm>
#include <limits>

namespace nibble {
namespace {

constexpr std::uint64_t kSteps = 8192;

}  // namespace

std::uint64_t bytes_of(const std::vector<BudgetItem>& items, const std::vector<std::size_t>& choice) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < items.size(); ++i) bytes += items[i].candidates[choice[i]].bytes;
  return bytes;
}

double loss_of(const std::vector<BudgetItem>& items, const std::vector<std::size_t>& choice) {
  double loss = 0;
  for (std::size_t i = 0; i < items.size(); ++i) loss += items[i].candidates[choice[i]].loss;
  return loss;
}

std::vector<std::size_t> solve_budget(const std::vector<BudgetItem>& items, std::uint64_t max_bytes) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  // What every mix must spend does not need resolution: the table runs over the bytes beyond the smallest candidates.
  std::vector<std::uint64_t> smallest;
  std::uint64_t least = 0;
  for (const BudgetItem& item : items) {
    smallest.push_back(std::ranges::min_element(item.candidates, {}, &BudgetCandidate::bytes)->bytes);
    least += smallest.back();
  }
  if (items.empty() || least > max_bytes) return {};
  const std::uint64_t unit = std::max<std::uint64_t>(1, (max_bytes - least) / kSteps),
                      steps = (max_bytes - least) / unit;
  const auto cost = [&](std::size_t i, std::size_t c) {
    return (items[i].candidates[c].bytes - smallest[i] + unit - 1) / unit;
  };

  std::vector<double> best(steps + 1, 0);
  std::vector<std::vector<std::uint8_t>> taken(items.size(), std::vector<std::uint8_t>(steps + 1));
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::vector<double> next(steps + 1, kNever);
    for (std::uint64_t b = 0; b <= steps; ++b)
      for (std::size_t c = 0; c < items[i].candidates.size(); ++c) {
        const std::uint64_t spent = cost(i, c);
        if (spent > b || !(best[b - spent] + items[i].candidates[c].loss < next[b])) continue;
        next[b] = best[b - spent] + items[i].candidates[c].loss;
        taken[i][b] = static_cast<std::uint8_t>(c);
      }
    best = std::move(next);
  }
  std::vector<std::size_t> choice(items.size());
  for (std::uint64_t b = steps, i = items.size(); i-- > 0;) {
    choice[i] = taken[i][b];
    b -= cost(i, choice[i]);
  }
  return choice;
}

std::vector<std::size_t> solve_loss(const std::vector<BudgetItem>& items, double max_loss) {
  std::uint64_t low = 0, high = 0;
  for (const BudgetItem& item : items) {
    low += std::ranges::min_element(item.candidates, {}, &BudgetCandidate::bytes)->bytes;
    high += std::ranges::max_element(item.candidates, {}, &BudgetCandidate::bytes)->bytes;
  }
  std::vector<std::size_t> best;
  for (const BudgetItem& item : items)
    best.push_back(static_cast<std::size_t>(std::ranges::min_element(item.candidates, {}, &BudgetCandidate::loss) -
                                            item.candidates.begin()));
  if (items.empty() || loss_of(items, best) > max_loss) return {};
  while (high - low > high / 4096 + 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    std::vector<std::size_t> choice = solve_budget(items, middle);
    if (!choice.empty() && loss_of(items, choice) <= max_loss) {
      best = std::move(choice);
      high = middle;
    } else {
      low = middle;
    }
  }
  return best;
}

}  // namespace nibble
