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
#include "nibble/evaluate.h"

namespace nibble {

std::string_view judgement_name(Judgement judgement);  // "accepted", "rejected", "undecided"

// "NAME<=NUMBER" or "NAME>=NUMBER", separated by commas; names are MetricInfo::accept, with _weights behind them those
// of the weights alone. Error(invalid_argument) names the rule and lists the names.
std::vector<Requirement> parse_requirements(std::string_view text);

bool judge_weights(const std::vector<Requirement>& requirements);  // at least one is of the weights alone

// By the candidate's figures over all texts. Error(invalid_argument) when the weights alone are judged and the verdict
// does not split the loss.
Acceptance accept(const PairedVerdict& verdict, std::size_t candidate, const std::vector<Requirement>& requirements);

}  // namespace nibble
