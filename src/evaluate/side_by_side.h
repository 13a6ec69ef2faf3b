// SPDX-License-Identifier: Apache-2.0
//
// An original and any number of candidates over the same windows, in one pass: the original runs once, and nothing is
// kept but a few numbers a token. verdict.h turns them into figures.
//
//   SideBySide pass({{"stories.txt", windows}}, 2);
//   pass.run(original, both, 0, {}, pool);          // may be stopped: what was read so far is kept
//   PairedVerdict verdict = judge(pass, {"first", "second"}, pool);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "engine/decoder.h"
#include "evaluate/layer_errors.h"
#include "evaluate/windows.h"
#include "nibble/progress.h"

namespace nibble {

struct ReadText {
  std::string name;
  Windows windows;
};

struct EvaluateOptions {
  ProgressCallback progress = {};  // stage "evaluate", in tokens
  bool layers = false;             // also compare hidden states, layer by layer: each candidate runs twice
  // What splits the loss: for each candidate the same weights with nothing else rounded (Decoder::multiplies_in_f32,
  // keys and values kept as the original's), read in the windows of the split; null: that is what the candidate is
  // already. Empty: nothing is split.
  std::span<Decoder* const> weights_alone{};
};

// What one scored position contributes.
struct CandidateSamples {
  std::vector<double> kl, nll;  // KL(original || candidate) and the negative log likelihood of the right token, in nats
  std::vector<std::uint8_t> same_top1;  // 1: both put the same token first
  std::vector<std::uint8_t>
      same_top5;  // how many of the original's five most probable tokens are among the candidate's, 0 to 5
  std::vector<std::uint8_t> right;  // 1: the right token comes first
  std::vector<LayerSums> layers;    // of the scored positions of each window that was read with EvaluateOptions::layers
};

// Windows spread evenly over all that are read.
struct SpreadWindows {
  std::size_t count = 0, planned = 0;

  std::size_t before(std::size_t window) const {
    return planned == 0 ? 0 : window * count / planned;
  }  // how many lie before this one
  bool holds(std::size_t window) const { return before(window + 1) > before(window); }
};

// Logits of two models are compared position by position. Error(unsupported) says both sizes.
void require_same_vocabulary(std::uint64_t original, std::uint64_t candidate);

class SideBySide {
 public:
  // All texts must be cut by one protocol and context. split_windows: how many windows, at most, split the loss.
  SideBySide(std::vector<ReadText> texts, std::size_t num_candidates, std::size_t split_windows = 0);

  // Reads every window with the original and with each of `candidates`, which become candidates first, first + 1, ...
  // The original's numbers are the same every time, so candidates that do not fit in memory together may come in
  // several runs. The same bits for any number of threads. Errors: unsupported when vocabularies differ in size (says
  // both) or layers are compared and the models are of different shape; corrupt when logits are not finite; cancelled:
  // windows_done() then says how much was read.
  void run(Decoder& original, std::span<Decoder* const> candidates, std::size_t first, const EvaluateOptions& options,
           ThreadPool& pool);

  const std::vector<ReadText>& texts() const { return texts_; }
  // Windows, counted through all texts, that the original and each of the first `num_candidates` candidates have read
  // whole.
  std::size_t windows_done(std::size_t num_candidates) const;
  std::size_t windows_planned() const { return windows_planned_; }
  std::size_t scored_per_window() const { return texts_.front().windows.scored_per_window(); }
  const std::vector<double>& original_nll() const { return original_nll_; }
  const std::vector<std::uint8_t>& original_right() const { return original_right_; }
  const std::vector<CandidateSamples>& candidates() const { return candidates_; }

  enum class Split { none, same, read };  // same: nothing but the weights is rounded in the candidate
  Split split_of(std::size_t candidate) const { return splits_[candidate]; }
  const SpreadWindows& split_windows() const { return split_windows_; }
  // Of each candidate's weights alone, where they were read: the positions of the split's windows one after another.
  const std::vector<CandidateSamples>& weights_alone() const { return weights_alone_; }

 private:
  struct Place;
  struct Watch;
  void prepare_split(Place& place, std::span<Decoder* const> weights_alone);
  void read_window(Place& place);
  void read_unscored(Place& place, std::size_t tokens);
  void read_scored(Place& place);
  void score_alone(const Place& place, std::span<const float> p);
  void score(const Place& place, std::span<const float> p, std::span<const float> q, std::size_t sample,
             CandidateSamples& samples);
  void read_weights_alone(Place& place, std::span<const float> p, std::size_t candidate);

  std::vector<ReadText> texts_;
  std::size_t windows_planned_ = 0, original_done_ = 0;
  std::vector<std::size_t> candidates_done_;
  std::vector<double> original_nll_;
  std::vector<std::uint8_t> original_right_;
  std::vector<CandidateSamples> candidates_;
  SpreadWindows split_windows_;
  std::vector<Split> splits_;
  std::vector<CandidateSamples> weights_alone_;
};

}  // namespace nibble
