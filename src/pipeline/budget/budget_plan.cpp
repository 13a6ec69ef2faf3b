// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/budget_plan.h"

#include <algorithm>
#include <functional>

namespace nibble {
namespace {

constexpr double kNear = 0.88;          // of the bytes: what is smaller is no rival
constexpr std::size_t kMostRivals = 2;  // of mixes, and of single formats
constexpr std::size_t kMeasuredAgain = 12;
constexpr int kMostSolutions = 3;
constexpr double kMostCorrection = 20;

// What the solver's candidates hold; mixes of rarer formats are not compared with.
constexpr std::string_view kUsual[] = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0",   "q2_k",
                                       "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs"};

// The bytes that a budget allows; those of the mix where it is a divergence.
std::uint64_t allowed_bytes(const Sensitivities& sensitivities, const Budget& budget, const SolvedRecipe& solved) {
  if (budget.bytes) return *budget.bytes;
  if (budget.bits_per_weight)
    return static_cast<std::uint64_t>(*budget.bits_per_weight * static_cast<double>(sensitivities.parameters) / 8);
  return solved.bytes;
}

Recipe without(const Recipe& recipe, const BudgetItem& item) {
  Recipe result = recipe;
  for (const std::string& tensor : item.tensors)
    result.rules.insert(result.rules.begin(),
                        {.pattern = tensor, .when = {}, .format = std::string(kSourceFormat), .method = {}});
  return result;
}

const BudgetCandidate& chosen(const BudgetItem& item, const Recipe& recipe) {
  const auto rule = std::ranges::find(recipe.rules, item.tensors.front(), &RecipeRule::pattern);
  return *std::ranges::find(item.candidates, rule->format, &BudgetCandidate::format);
}

// Losses of the groups that matter most become what the mix loses less without them; the others' share what is left of
// what was measured.
void correct(SensitivityProbe& probe, Sensitivities& sensitivities, const SolvedRecipe& solved, double measured) {
  std::vector<std::size_t> order(sensitivities.items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::size_t i) { return chosen(sensitivities.items[i], solved.recipe).loss; });
  const std::size_t count = std::min(kMeasuredAgain, order.size());
  std::vector<Recipe> recipes;
  for (std::size_t i = 0; i < count; ++i) recipes.push_back(without(solved.recipe, sensitivities.items[order[i]]));
  const std::vector<double> kl = probe.divergences(recipes);
  const auto scale = [](BudgetItem& item, double factor) {
    for (BudgetCandidate& candidate : item.candidates)
      candidate.loss *= std::clamp(factor, 1 / kMostCorrection, kMostCorrection);
  };
  double left = measured, left_added = solved.expected_kl;
  for (std::size_t i = 0; i < count; ++i) {
    BudgetItem& item = sensitivities.items[order[i]];
    const double added = chosen(item, solved.recipe).loss, own = std::max(0.0, measured - kl[i]);
    left -= own;
    left_added -= added;
    if (added > 0) scale(item, own / added);
  }
  for (std::size_t i = count; i < order.size() && left_added > 0; ++i)
    scale(sensitivities.items[order[i]], std::max(0.0, left) / left_added);
}

}  // namespace

bool disagree(double expected, double measured) {
  return measured > kDisagreement * expected || expected > kDisagreement * measured;
}

std::vector<Recipe> rivals(const SensitivityProbe& probe, std::uint64_t bytes, std::size_t most) {
  const auto is_near = [&](const Recipe& recipe) {
    const std::uint64_t own = probe.bytes_of(recipe);
    return own <= bytes && static_cast<double>(own) >= kNear * static_cast<double>(bytes);
  };
  std::vector<Recipe> result;
  const auto add_nearest = [&](std::vector<Recipe> recipes) {
    std::ranges::stable_sort(recipes, std::greater{}, [&](const Recipe& recipe) { return probe.bytes_of(recipe); });
    std::size_t added = 0;
    for (Recipe& recipe : recipes) {
      if (added == most || !is_near(recipe) ||
          std::ranges::any_of(result, [&](const Recipe& other) { return probe.are_alike(recipe, other); }))
        continue;
      result.push_back(std::move(recipe));
      ++added;
    }
  };
  std::vector<Recipe> mixes, single;
  if (!probe.has_usual_candidates()) {
    single = probe.single_formats();
  } else {
    for (const std::string_view format : kUsual) single.push_back(find_recipe(format));
    for (const MixInfo& mix : list_mixes()) {
      Recipe recipe = find_recipe("mix:" + std::string(mix.name));
      recipe.name = "mix:" + std::string(mix.name);
      if (std::ranges::find(kUsual, recipe.main_format) != std::end(kUsual)) mixes.push_back(std::move(recipe));
    }
  }
  add_nearest(std::move(mixes));
  add_nearest(std::move(single));
  return result;
}

PlannedMix plan_mix(SensitivityProbe& probe, Sensitivities& sensitivities, const Budget& budget) {
  PlannedMix plan;
  std::vector<SolvedRecipe> mixes;  // as plan.measured
  const auto measure = [&](const SolvedRecipe& solved, std::vector<Recipe> others) {
    std::vector<Recipe> recipes = {solved.recipe};
    for (Recipe& recipe : others) recipes.push_back(std::move(recipe));
    const std::vector<double> kl = probe.divergences(recipes);
    for (std::size_t i = 0; i < recipes.size(); ++i) {
      SolvedRecipe mix = solved;
      if (i > 0) {
        mix.bytes = probe.bytes_of(recipes[i]);
        mix.bits_per_weight = 8.0 * static_cast<double>(mix.bytes) / static_cast<double>(sensitivities.parameters);
        mix.recipe = recipes[i];
      }
      mix.expected_kl = kl[i];
      plan.measured.push_back({recipes[i].name, i == 0, mix.bytes, i == 0 ? solved.expected_kl : 0, kl[i]});
      mixes.push_back(std::move(mix));
    }
    return kl.front();
  };

  for (int round = 0; round < kMostSolutions; ++round) {
    const SolvedRecipe solved = solve_recipe(sensitivities, budget);
    if (round > 0 &&
        std::ranges::any_of(mixes, [&](const SolvedRecipe& mix) { return probe.are_alike(mix.recipe, solved.recipe); }))
      break;
    const double kl =
        measure(solved, round == 0 ? rivals(probe, allowed_bytes(sensitivities, budget, solved), kMostRivals)
                                   : std::vector<Recipe>{});
    if (round + 1 == kMostSolutions || !disagree(solved.expected_kl, kl)) break;
    correct(probe, sensitivities, solved, kl);
  }
  std::size_t best = 0;
  for (std::size_t i = 1; i < mixes.size(); ++i) {
    const bool smaller_loss = mixes[i].expected_kl < mixes[best].expected_kl;
    // A divergence was asked for: later solutions know better than the first what it takes.
    if (budget.max_kl ? plan.measured[i].is_solved || (smaller_loss && mixes[i].bytes <= mixes[best].bytes)
                      : smaller_loss)
      best = i;
  }
  plan.solved = mixes[best];
  return plan;
}

}  // namespace nibble
