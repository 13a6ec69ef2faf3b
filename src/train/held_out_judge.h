// SPDX-License-Identifier: Apache-2.0
//
// Judges a run of training by text that it does not learn from: every so many steps and at its end, and before the
// first step where that is wanted. Remembers the numbers that did best, tells when to stop, and goes on where a saved
// run was. One thread at a time.
//
//   HeldOutJudge judge(held_out, {.steps = 1000, .every = 100, .patience = 3, .batch = batch});
//   if (judge.is_due(step)) judge.record(step, judge.mean_loss(loss_of_rows), parameters);
//   judge.put_best(parameters);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/parameter.h"
#include "train/state_file.h"
#include "train/text_batches.h"

namespace nibble {

struct LossPoint {
  std::uint64_t step = 0;  // those that are done; 0: the beginning
  double loss = 0;         // nats
};

struct JudgeSettings {
  std::uint64_t steps = 0;     // of the run
  std::uint64_t every = 0;     // steps; 0: never
  std::uint64_t patience = 0;  // judgements without a better one after which the run ends; 0: it does not
  bool keeps_best = true;
  bool is_required = true;  // whether text that is shorter than a row is an error, or no judgement
  BatchSettings batch{};    // whose rows are judged, as many at a time
  std::uint64_t most_rows = 0;
  bool predicts_end = true;  // whether the token behind a row's last is known, too
  std::string name = "judgements";
};

class HeldOutJudge {
 public:
  // The text is borrowed. Error(unusable_input): it is shorter than a row, and required.
  HeldOutJudge(const TokenStream& text, const JudgeSettings& settings);

  bool is_due(std::uint64_t step) const;
  bool has_row() const { return text_.ids.size() >= tokens_of_row(); }
  bool has_begun() const { return !losses_.empty() && losses_.front() != kNotTaken; }

  // loss_of: of rows [rows, length + 1] the mean; where the end is not predicted, their last tokens mean nothing.
  using LossOfRows = std::function<double(const std::vector<std::int32_t>& rows)>;
  double mean_loss(const LossOfRows& loss_of) const;

  void record(std::uint64_t step, double loss, std::span<const Parameter> parameters);
  bool stops() const { return stops_; }
  std::vector<LossPoint> points() const;
  std::optional<LossPoint> best() const;
  bool has_best() const { return !best_.empty(); }  // numbers
  void put_best(std::span<const Parameter> parameters) const;

  // The part of a run's state that is its own.
  void add_to(TrainingState& state, std::span<const Parameter> parameters);
  // Reads a whole state: `state_of` gives a state with this part in it, whose room is made as the file needs it.
  // Returns it filled. Errors as read_training_state's.
  TrainingState read(const std::filesystem::path& path, std::span<const Parameter> parameters,
                     const std::function<TrainingState()>& state_of);

 private:
  static constexpr float kNotTaken = -1;  // a loss is never negative

  std::size_t tokens_of_row() const;
  std::size_t num_rows() const;
  // Of a step's judgement; that of the end lies behind those of every so many steps.
  std::size_t place_of(std::uint64_t step) const {
    return static_cast<std::size_t>(step / settings_.every + (step % settings_.every == 0 ? 0 : 1));
  }

  const TokenStream& text_;
  JudgeSettings settings_;
  std::vector<float> losses_;             // by place, up to the last that was judged
  std::vector<std::vector<float>> best_;  // of the parameters; empty: nothing is remembered
  std::uint64_t waited_ = 0;              // judgements without a better one
  bool stops_ = false;
};

}  // namespace nibble
