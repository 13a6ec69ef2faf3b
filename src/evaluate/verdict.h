// SPDX-License-Identifier: Apache-2.0
//
// What quantization changed: figures with 95 % intervals, for each text and for all texts together, and how candidates
// compare with each other. Blocks of the bootstrap are windows, joined where neighbours are still correlated.
//
//   PairedVerdict verdict = judge(pass, {"q4_k_m.gguf"}, pool);
//   const Figure& kl = verdict.candidates[0].overall[Metric::kl_mean];
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/intervals.h"
#include "evaluate/layer_errors.h"
#include "evaluate/metrics.h"
#include "evaluate/side_by_side.h"

namespace nibble {

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

struct CandidateVerdict {
  std::string name;
  std::vector<MetricFigures> texts;  // as PairedVerdict::texts
  MetricFigures overall;
  std::optional<LayerErrors> layers{};  // over all texts, where the pass compared them
  std::optional<LossSplit> split{};     // over all texts, where the pass split the loss
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

// From what the pass has read so far: only whole windows, at least one. names: of all candidates or of the first few
// that are wanted; none: the original's perplexity alone. Error(unusable_input) when not even one window was read.
PairedVerdict judge(const SideBySide& pass, const std::vector<std::string>& names, ThreadPool& pool);

}  // namespace nibble
