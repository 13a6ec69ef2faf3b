// SPDX-License-Identifier: Apache-2.0
//
// Quantizing to a budget and proving that it was met: sensitivities are measured, a mix is planned and held against its
// rivals (pipeline/budget/budget_plan.h), the model is quantized and judged against its source on text that took no
// part in it. Where a divergence was asked for and the judgement differs from what was expected, the mix is solved for
// again with the expectation corrected, a bounded number of times; the smallest output that was accepted stays.
//
//   BudgetedQuantization result = quantize_to_budget(source, options, {.budget = {.max_kl = 0.02}}, machine, progress);
//   for (const BudgetRound& round : result.rounds) show(round.expected_kl, round.kl.value);
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/machine.h"
#include "pipeline/budget/budget_plan.h"
#include "pipeline/budget/sensitivity.h"
#include "pipeline/quantize/verified_quantization.h"

namespace nibble {

// One mix, quantized and judged.
struct BudgetRound {
  std::string mostly;              // the format of most bytes
  double bits_per_weight = 0;      // of all tensors
  std::uint64_t tensor_bytes = 0;  // as solved for
  std::uint64_t output_bytes = 0;  // of the file; 0 when it was not accepted
  double expected_kl = 0;          // of the weights, in f32 arithmetic
  Figure kl{};                     // as judged: of the weights and of the engine's arithmetic
  std::optional<double>
      weights_kl;  // judged in f32 arithmetic on a part of the text, where kl and expected_kl disagree
  bool accepted = false;

  // Whether what was expected and what was measured are one, as far as the weights go.
  bool agrees() const { return !disagree(expected_kl, weights_kl.value_or(kl.value)); }
};

struct BudgetRequest {
  Budget budget{};
  // Texts empty: the end of each calibration text is held out for the judgement and not calibrated on.
  VerifyOptions verify{};
  SensitivityOptions sensitivity{};  // method, calibration length and walk are those of the quantization
  int max_rounds = 6;
  std::function<void(const PlannedMix&)> on_plan{};
  std::function<void(const BudgetRound&)> on_round{};
};

struct BudgetedQuantization {
  VerifiedQuantization outcome;  // of the output that stays; of the last round when none was accepted
  Recipe recipe;                 // of the same
  std::vector<BudgetRound> rounds;
  std::vector<MeasuredMix> mixes;  // what was measured whole before the first
  std::size_t kept = 0;            // the round whose output stays
  bool held_out = false;           // judged on the end of the calibration texts
};

// What measuring sensitivities needs to know of how the output will be made.
SensitivityOptions for_output(SensitivityOptions measuring, const QuantizeModelOptions& options);

// options.recipe is not looked at. A divergence counts as met when its one-sided 95 % bound is. Errors: those of
// measure_sensitivities, solve_recipe and quantize_verified; invalid_argument when there is no text, unusable_input
// when it is too little to judge by.
BudgetedQuantization quantize_to_budget(const SourceModel& source, const QuantizeModelOptions& options,
                                        const BudgetRequest& request, Machine& machine,
                                        const ProgressCallback& progress);

// The last share of each text, cut at a line where there is one: first what is left, then what was cut off.
std::pair<std::vector<CalibrationText>, std::vector<NamedText>> hold_out(const std::vector<CalibrationText>& texts,
                                                                         double share);

// What a mix was expected to lose, and what it lost.
struct JudgedExpectation {
  double expected = 0, measured = 0;
};

// The expected divergence to solve for next so that `limit` is just met, from what was tried so far (at least one):
// between the largest that met it and the smallest that missed it, by interpolation in logarithms. None: close enough,
// or too close together to be worth a round.
std::optional<double> next_expectation(std::span<const JudgedExpectation> tried, double limit);

}  // namespace nibble
