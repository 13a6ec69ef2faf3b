// SPDX-License-Identifier: Apache-2.0
//
// How well a model predicts texts, how far quantized models are from their original, and whether that is near enough.
//
//   nibble::PairedVerdict verdict = nibble::evaluate_against({{"q4", quantized}}, original, {{"stories", text}}, {});
//   const nibble::Figure& kl = verdict.candidates[0].overall[nibble::Metric::kl_mean];
//   std::cout << kl.value << " [" << kl.low << ", " << kl.high << "]\n";
//
// Functions may be called from many threads at once; each has threads of its own. Results are plain data.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

// --- what is measured ------------------------------------------------------------------------------------------------

enum class Protocol {
  llama_cpp,  // llama-perplexity's: windows of 512, the first token of each replaced by the begin token, the second
              // half scored
  paper,      // the papers': windows that do not overlap, every token but the first scored, context 2048
};

enum class Metric {
  perplexity,
  perplexity_ratio,  // candidate / original
  kl_mean,           // KL(original || candidate) of the predictions, in nats
  kl_median,
  kl_p99,
  kl_p999,
  kl_maximum,
  top1_agreement,  // share of positions where both put the same token first
  top5_agreement,
  flips_to_wrong,
  flips_to_right,
  probability_rms,
  probability_mean,
  probability_p01,
  probability_p05,
  probability_p25,
  probability_p50,
  probability_p75,
  probability_p95,
  probability_p99,
};
inline constexpr std::size_t kNumMetrics = 20;

struct MetricDescription {
  std::string_view key;    // in JSON
  std::string_view title;  // in tables
  std::string_view meaning;
};
MetricDescription describe_metric(Metric metric);

enum class Certainty {
  interval,             // low .. high and the bounds are known
  too_few_blocks,       // below 30 windows: they say too little about how windows differ
  too_few_exceedances,  // a quantile so far out that too few values lie beyond it
  none,                 // a maximum: no sample bounds it
};

// A measured number and how sure it is. low, high: the 95 % interval. lower_bound, upper_bound: each alone holds with
// 95 %. These four mean something for Certainty::interval only.
struct Figure {
  double value = 0;
  double gaussian_error = std::numeric_limits<double>::quiet_NaN();  // standard error if tokens were independent, as
                                                                     // llama.cpp prints; NaN: none
  Certainty certainty = Certainty::none;
  double low = 0, high = 0;
  double lower_bound = 0, upper_bound = 0;
};

// One candidate's figures on one text or on all.
struct MetricFigures {
  std::array<Figure, kNumMetrics> figures;
  std::uint64_t blocks = 0;  // of the bootstrap
  std::uint64_t windows_per_block = 1;

  const Figure& operator[](Metric metric) const { return figures[static_cast<std::size_t>(metric)]; }
  Figure& operator[](Metric metric) { return figures[static_cast<std::size_t>(metric)]; }
};

enum class Contest { first_better, second_better, undecided, equal };

// Two candidates on the same windows; figures are of the paired differences, over all texts.
struct CandidateContest {
  std::string first, second;
  Figure kl_difference;                 // mean KL of the first - of the second
  Figure perplexity_ratio;              // first / second
  Figure top1_difference;               // same-top-1 share of the first - of the second
  Contest result = Contest::undecided;  // by the interval of kl_difference; equal: no position differs
};

// What of a candidate's loss is the stored weights', and what is the arithmetic's: the inputs of products rounded to 8
// bits, keys and values kept in fewer bits than the original's. Both halves are of the same windows, which are some of
// all.
struct LossSplit {
  std::uint64_t windows = 0;
  bool same = false;      // nothing but the weights is rounded: the loss as run is theirs, and nothing was read twice
  MetricFigures weights;  // the stored weights in products of f32, keys and values kept as the original's
  MetricFigures as_run;
  CandidateContest arithmetic;  // as run against the weights alone, paired: what arithmetic adds
};

// Where in a model the damage is. x_i is the original's residual stream after i layers, y_i the candidate's, over all
// scored positions; |.| is the Frobenius norm.
struct LayerError {
  double residual =
      0;  // |y_i - x_i| / |x_i|: of the stream that leaves the layer, with all that earlier layers did to it
  double output =
      0;  // |(y_i - y_{i-1}) - (x_i - x_{i-1})| / |x_i - x_{i-1}|: of what the layer adds, each model on its own stream
  double local = 0;  // |q_i(x_{i-1}) - x_i| / |x_i - x_{i-1}|: of what the candidate's layer q_i adds when it reads the
                     // original's stream, here and at all earlier positions: what this layer alone does wrong
};

struct LayerErrors {
  double embedding = 0;  // |y_0 - x_0| / |x_0|
  std::vector<LayerError> layers;
};

struct CandidateVerdict {
  std::string name;
  std::vector<MetricFigures> texts;  // as PairedVerdict::texts
  MetricFigures overall;
  std::optional<LayerErrors> layers{};  // over all texts, where they were compared
  std::optional<LossSplit> split{};     // over all texts, where the loss was split
};

// What was read of a text.
struct MeasuredText {
  std::string name;
  std::uint64_t windows = 0, windows_planned = 0, tokens_scored = 0;
  Figure original_perplexity;
};

struct PairedVerdict {
  Protocol protocol = Protocol::llama_cpp;
  std::uint64_t context = 0;
  std::vector<MeasuredText> texts;
  Figure original_perplexity;  // over all texts
  std::uint64_t windows = 0, windows_planned = 0, tokens_scored = 0;
  std::vector<CandidateVerdict> candidates;
  std::vector<CandidateContest> contests;  // each later candidate against the first
  std::vector<std::string> left_out{};     // candidates that a stop kept from being read with at all

  bool partial() const { return windows < windows_planned || !left_out.empty(); }
};

struct EvaluateRequest {
  Protocol protocol = Protocol::llama_cpp;
  std::size_t context = 0;      // tokens in a window; 0: the protocol's own, or the model's where that is shorter
  std::size_t max_windows = 0;  // of each text; 0: all
  bool parse_special = false;   // the text of control tokens is taken for these tokens
  // How models are run; originals in f32 unless activations say otherwise.
  ArithmeticOptions arithmetic{};
  // Of the original where there are candidates; automatic: as `arithmetic` says, but f16 where that keeps fewer bits.
  KeyValueStorage original_keys_values = KeyValueStorage::automatic;
  bool layers = false;            // also how far each layer's output is from the original's
  std::size_t split_windows = 0;  // windows that are read once more with nothing but the weights rounded
  bool keep_partial = false;      // a stop by progress gives the figures so far, and is no Error(cancelled)
  MachineOptions machine{};
  ProgressCallback progress{};  // stages "load", "evaluate"
};

struct NamedModel {
  std::string name;
  Model model;
};

// The model's own perplexity: original_perplexity, and that of each text. Errors: unusable_input (no text, or one
// shorter than a window), invalid_argument, not_found (no tokenizer), corrupt, cancelled.
PairedVerdict evaluate(const Model& model, const std::vector<NamedText>& texts, const EvaluateRequest& request);
// All candidates in one pass. Errors: the same; unsupported (tokenizers or vocabularies that differ: names text and
// model).
PairedVerdict evaluate_against(const std::vector<NamedModel>& candidates, const Model& original,
                               const std::vector<NamedText>& texts, const EvaluateRequest& request);

// --- whether it is near enough ---------------------------------------------------------------------------------------

enum class Judgement { accepted, rejected, undecided };
enum class Limit { at_most, at_least };

struct Requirement {
  Metric metric = Metric::kl_mean;
  bool of_weights = false;  // of the weights alone (LossSplit::weights); otherwise of the candidate as run
  Limit limit = Limit::at_most;
  double value = 0;
  std::string text{};  // "kl<=0.02", where it was spelled
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

// "kl<=0.02, top1>=0.97": for requirements that people write. Error(invalid_argument) names the rule and lists the
// names.
std::vector<Requirement> read_requirements(std::string_view text);

// By one-sided 95 % bounds over all texts: met when the whole plausible range meets it, broken when none of it does,
// undecided in between. Error(invalid_argument): no such candidate; the weights alone are judged and the verdict does
// not split the loss.
Acceptance judge_acceptance(const PairedVerdict& verdict, std::size_t candidate,
                            const std::vector<Requirement>& requirements);

}  // namespace nibble
