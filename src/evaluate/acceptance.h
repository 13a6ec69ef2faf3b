// SPDX-License-Identifier: Apache-2.0
//
// Whether a candidate is good enough, by one-sided 95 % bounds: a requirement is met when the whole plausible range
// meets it, broken when none of it does, and undecided in between, with an estimate of how much text would decide.
//
//   Acceptance a = accept(verdict, 0, parse_requirements("kl<=0.02, kl_weights<=0.01, top1>=0.97"));
//   if (a.judgement == Judgement::undecided) ask_for(a.windows_needed);
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/verdict.h"

namespace nibble {

enum class Judgement { accepted, rejected, undecided };
std::string_view judgement_name(Judgement judgement);  // "accepted", "rejected", "undecided"

enum class Limit { at_most, at_least };

struct Requirement {
  Metric metric = Metric::kl_mean;
  bool of_weights = false;  // of the weights alone (LossSplit::weights); otherwise of the candidate as run
  Limit limit = Limit::at_most;
  double value = 0;
  std::string text;  // "kl<=0.02"
};

struct RequirementResult {
  Requirement requirement;
  Judgement judgement = Judgement::undecided;
  Figure figure;
  std::uint64_t windows_read = 0;    // that the figure is of
  std::uint64_t windows_needed = 0;  // in all, where undecided; 0: more text than can be told would be needed
};

struct Acceptance {
  Judgement judgement = Judgement::undecided;  // rejected if any requirement is, accepted if all are
  std::vector<RequirementResult> results;
  std::uint64_t windows_needed = 0;  // the most of those that are undecided; 0 as above
};

// "NAME<=NUMBER" or "NAME>=NUMBER", separated by commas; names are MetricInfo::accept, with _weights behind them those
// of the weights alone. Error(invalid_argument) names the rule and lists the names.
std::vector<Requirement> parse_requirements(std::string_view text);

bool judge_weights(const std::vector<Requirement>& requirements);  // at least one is of the weights alone

// By the candidate's figures over all texts. Error(invalid_argument) when the weights alone are judged and the verdict
// does not split the loss.
Acceptance accept(const PairedVerdict& verdict, std::size_t candidate, const std::vector<Requirement>& requirements);

}  // namespace nibble
