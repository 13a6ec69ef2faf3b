// SPDX-License-Identifier: Apache-2.0
//
// The mix for a budget, held against what it competes with before anything is written: the solved mix, single formats
// of about the same bytes and, where candidates are llama.cpp's, its mixes are measured whole, and the best is taken.
// Where the solved mix loses much more or less than its groups' losses add up to, those that matter most are measured
// again, each by taking it back out of the mix, and the mix is solved for again.
//
//   PlannedMix mix = plan_mix(probe, sensitivities, {.bytes = 90'000'000});
//   mix.solved.expected_kl;   // of all changes together
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/budget/sensitivity.h"

namespace nibble {

// One that was measured whole.
struct MeasuredMix {
  std::string name;  // "solved-5.12", "mix:q4_0", "q5_0"
  bool is_solved = false;
  std::uint64_t bytes = 0;  // of all tensors
  double added_kl = 0;      // what its groups' losses add up to; 0 where that was not asked
  double kl = 0;            // of all changes together
};

struct PlannedMix {
  SolvedRecipe solved;                // the best; expected_kl of all its changes together
  std::vector<MeasuredMix> measured;  // in the order in which they were
};

// Two divergences that should be one and are not: more than this apart.
inline constexpr double kDisagreement = 1.5;
bool disagree(double expected, double measured);

// Corrects `sensitivities` where they were measured again. Errors as solve_recipe's.
PlannedMix plan_mix(SensitivityProbe& probe, Sensitivities& sensitivities, const Budget& budget);

// Single formats of at most `bytes` (of all tensors) that come near it, nearest first, and llama.cpp's mixes where
// candidates are its formats: at most `most` of either. Otherwise everything is a candidate or stays as it is.
std::vector<Recipe> rivals(const SensitivityProbe& probe, std::uint64_t bytes, std::size_t most);

}  // namespace nibble
