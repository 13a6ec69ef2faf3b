// SPDX-License-Identifier: Apache-2.0
//
// Verdicts for people: tables for a terminal, or a section of a model card in Markdown.
//
//   std::string text = verdict_text(verdict, {.style = style});
#pragma once

#include <string>

#include "evaluate/acceptance.h"
#include "evaluate/verdict.h"
#include "report/table.h"

namespace nibble {

struct VerdictTextOptions {
  bool markdown = false;
  TableStyle style{};
  std::string original{};  // its name
};

// One candidate: every metric with its interval and llama.cpp's error, and how its loss splits. Several: a row each,
// and who beats the first. Then by text, if there is more than one, and by layer, if those were compared.
std::string verdict_text(const PairedVerdict& verdict, const VerdictTextOptions& options);

// Where layers were compared: their errors, of one candidate side by side, of several a table for each kind of error.
// Otherwise empty.
std::string layers_text(const PairedVerdict& verdict, const VerdictTextOptions& options);

// "0.00907", "94.2 %", "+0.31 %" by the metric's unit.
std::string figure_value_text(const MetricInfo& metric, double value);
// "0.00858 – 0.00961", or why there is none.
std::string interval_text(const MetricInfo& metric, const Figure& figure);
// "0.00907 [0.00858, 0.00961]", or the value alone.
std::string figure_text(const MetricInfo& metric, const Figure& figure);
// Of the mean divergence in the windows of the split what is the weights' alone: "0.00101 of 0.00977", "all of it"; ""
// where the loss is not split.
std::string weights_loss_text(const CandidateVerdict& candidate);
// What that figure is, and of how many windows; "" where no candidate's loss is split.
std::string split_note(const PairedVerdict& verdict);
// Protocol, windows and tokens, and what is missing when the reading was stopped.
std::string coverage_text(const PairedVerdict& verdict);
// A line that names what a stop left out. names: not empty.
std::string left_out_text(const std::vector<std::string>& names);

// One line for the judgement and one for each requirement, with how much text an undecided one needs. name: the
// candidate's.
std::string acceptance_text(const Acceptance& acceptance, const PairedVerdict& verdict, const std::string& name,
                            const VerdictTextOptions& options);

}  // namespace nibble
