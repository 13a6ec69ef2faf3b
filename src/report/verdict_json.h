// SPDX-License-Identifier: Apache-2.0
//
// Verdicts as JSON objects. Keys are a promise to scripts: they may be added to, not changed.
#pragma once

#include "evaluate/acceptance.h"
#include "evaluate/verdict.h"
#include "pipeline/budget/budgeted_quantization.h"
#include "pipeline/quantize/verified_quantization.h"
#include "report/json_report.h"

namespace nibble {

// value, stderr (where there is one); low, high, lower_bound, upper_bound where there is an interval, else no_interval
// (why)
Json to_json(const Figure& figure);
// Every metric by its key, blocks, windows_per_block
Json to_json(const MetricFigures& figures);
// Where layers were compared: embedding_error and layers, a list of layer, residual, output, local (LayerError says
// what they are)
void add_layers(Json& json, const CandidateVerdict& candidate);
// Where the loss was split: split, an object of windows, same, weights and as_run (figures), arithmetic (kl_difference,
// perplexity_ratio, top1_difference)
void add_split(Json& json, const CandidateVerdict& candidate);
// All of it: protocol, context, windows, windows_planned, tokens, partial, original, texts, candidates, contests; and
// of a single candidate the keys of summary_json beside them.
Json to_json(const PairedVerdict& verdict);

// perplexity, perplexity_stderr, protocol, context, windows, tokens, kl_mean, kl_stderr, kl_p999, kl_max,
// top1_agreement, perplexity_ratio, perplexity_ratio_stderr
Json summary_json(const PairedVerdict& verdict, const CandidateVerdict& candidate);
// perplexity, perplexity_stderr, protocol, context, windows, tokens, low, high
Json original_json(const PairedVerdict& verdict);
// A list of name, windows, windows_planned, tokens, original_perplexity
Json texts_json(const PairedVerdict& verdict);

// Of quantize --verify: the keys of the summary, released, verdict, acceptance (where something was required)
Json to_json(const VerifiedQuantization& verified);
// Of a budget: the same keys and rounds (a list of mostly, bits_per_weight, tensor_bytes, output_bytes, expected_kl,
// kl, accepted), held_out
Json to_json(const BudgetedQuantization& budgeted);
// judgement, windows_needed (where undecided; null: more than can be told), requirements: a list of rule, metric,
// judgement, figure, windows_needed
Json to_json(const Acceptance& acceptance);

}  // namespace nibble
