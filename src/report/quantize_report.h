// SPDX-License-Identifier: Apache-2.0
//
// What quantizing did, for people.
//
//   std::string text = kinds_table(summary).text(style);
#pragma once

#include <string>
#include <vector>

#include "pipeline/budget/budgeted_quantization.h"
#include "pipeline/quantize/quantize_model.h"
#include "report/table.h"

namespace nibble {

// A row for each kind of tensor ("q", "down", "embedding"; vectors together): weights, formats, bytes, bits per weight
// and, where known, which share of the outputs nearest values would have lost and the method did.
Table kinds_table(const QuantizeSummary& summary);

// What of the source was left out, and what the output holds otherwise: a line each.
std::vector<std::string> source_notes(const QuantizeSummary& summary);

// "written: 4.38 MB (4,384,640 bytes), 46.4 % of the source's 9.45 MB"; of a dry run what would be.
std::string size_text(const QuantizeSummary& summary, bool dry_run);

// "layer 3 of 16: error of outputs 1.52 % -> 0.71 % (down 2.10 % -> 0.93 %), 12 s, about 3 min left".
std::string layer_text(const LayerReport& report);

// Every mix that was tried for a budget.
Table rounds_table(const std::vector<BudgetRound>& rounds);
// "4.512 bits per weight, mostly q4_k: expected divergence 0.01234, measured 0.01071 (at most 0.01120): accepted".
std::string round_text(const BudgetRound& round);
// "solved-5.02: 89,123,456 bytes, expected divergence 0.03120 (0.02950 by its parts)".
std::string mix_text(const MeasuredMix& mix);
// What a reader should know where expectation and judgement are far apart; empty where they are not.
std::string disagreement_text(const BudgetRound& round);

}  // namespace nibble
