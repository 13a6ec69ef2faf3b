// SPDX-License-Identifier: Apache-2.0
//
// A run of training of a small net: batches of examples, there and back, AdamW, the rate's schedule; after every pass
// the examples that are held out are judged, and the best weights kept. What a run is follows from its settings, the
// examples and the weights that it begins with: the same bits for any number of threads, and of a run that was saved
// and taken up again. One thread at a time.
//
//   NetTrainer trainer(net, weights, {training, held_out}, settings, machine, {.rounded = {&rounded, 1}});
//   while (!trainer.is_done()) trainer.step();
//   trainer.keep_best();
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/quantize/sample_walk.h"
#include "train/losses.h"
#include "train/net/net_tape.h"
#include "train/optimizer.h"
#include "train/rate_schedule.h"
#include "train/rounded_weights.h"
#include "train/state_file.h"

namespace nibble {

struct NetTrainerSettings {
  std::uint64_t epochs = 20;
  std::uint64_t batch = 50;  // examples of a step
  double rate = 1e-3;
  // Whether the rate is a share of the root mean square of what each matrix and vector begins with: folded norms, and
  // inputs of any range, leave weights of very different sizes.
  bool is_relative = false;
  double scale_rate = 1e-3;  // of learned scales of rounded weights, as shares of each
  double weight_decay = 0;   // of matrices that are not rounded
  double clip = 0;           // the longest gradient; 0: any
  RateFall fall = RateFall::cosine;
  double warm_up = 0;  // share of the steps
  // Pictures are moved by up to so many places along height and width, the edge repeated, and mirrored half of the
  // time.
  std::uint64_t shift = 0;
  bool mirrors = false;
  std::uint64_t seed = 1;  // of the order of examples and what is done to them
  // With a teacher: how much of the loss is the divergence from what it says, at which temperature.
  double teacher_share = 1;
  double temperature = 1;
  // Whether what a run begins with may be what it keeps: random weights are not worth that.
  bool keeps_beginning = true;
};

// Borrowed. labels: a class of each sample; none: there is a teacher. Labels below 0 are not counted.
struct NetExamples {
  std::span<const NetSample> samples;
  std::span<const std::int64_t> labels;
};

struct NetTrainingData {
  NetExamples training, held_out;  // held_out may be empty
};

// Borrowed. Null: there is none.
struct NetTrainingHelp {
  NetTape* teacher = nullptr;              // of a net with the same inputs and decisions
  const Net* taught = nullptr;             // the teacher's net
  std::span<RoundedWeights> rounded = {};  // of different weights
};

// Of held-out examples. right: decisions as the labels say, or, without labels, as the teacher's.
struct NetJudgement {
  std::uint64_t epoch = 0, examples = 0, right = 0;
  double loss = 0;
  double share() const { return examples == 0 ? 0 : static_cast<double>(right) / static_cast<double>(examples); }
  // More right decisions, or as many at a smaller loss.
  bool is_better_than(const NetJudgement& other) const {
    return right > other.right || (right == other.right && loss < other.loss);
  }
};

// The value that a net decides by: its first output, or what a softmax makes that of.
ValueId decision_of(const Net& net);

class NetTrainer {
 public:
  // weights: trained in place; which of them, they say. Error(unusable_input): labels that are no classes of the net,
  // fewer examples than a batch. Error(invalid_argument): settings that no run can have.
  NetTrainer(const Net& net, NetworkWeights& weights, const NetTrainingData& data, const NetTrainerSettings& settings,
             Machine& machine, const NetTrainingHelp& help = {});

  std::uint64_t steps() const { return settings_.epochs * steps_of_epoch_; }
  std::uint64_t steps_done() const { return step_; }
  bool is_done() const { return step_ >= steps(); }
  // The loss of the step. Error(unusable_input): one that is not finite.
  double step();
  NetJudgement judge();  // of the held-out examples
  // Weights become those of the best judgement; where nothing was judged they stay.
  void keep_best();

  const std::vector<NetJudgement>& judgements() const { return judgements_; }  // the first: what it begins with
  const std::vector<double>& losses() const { return losses_; }                // means of passes
  std::optional<NetJudgement> best() const;                                    // whose weights are kept
  std::optional<NetJudgement> best_learnt() const;                             // the beginning left out

  void save(const std::filesystem::path& path, const std::map<std::string, std::string>& run);
  void take_up(const std::filesystem::path& path, const std::map<std::string, std::string>& run);

 private:
  struct Group {
    std::vector<Parameter> parameters;
    Optimizer optimizer;
  };
  void require_labels(const NetExamples& examples, const char* what) const;
  std::vector<std::vector<float>> gather(const NetExamples& examples, std::span<const std::size_t> which) const;
  void vary(std::vector<std::vector<float>>& inputs, std::size_t samples, std::uint64_t step) const;
  LossFunction loss_of(const std::vector<std::int32_t>& targets, const std::vector<float>& taught);
  // The teacher's logits of a batch; none: empty.
  std::vector<float> taught(const std::vector<std::vector<float>>& inputs, std::size_t samples);
  std::vector<std::int32_t> targets_of(const NetExamples& examples, std::span<const std::size_t> which) const;
  void round();
  void judge_and_remember();
  std::optional<NetJudgement> best_from(std::size_t first) const;
  std::vector<float>* find_masters(const std::string& name);
  std::vector<std::span<float>> changed();  // all numbers that a run changes, optimizers' left out
  TrainingState state(const std::map<std::string, std::string>& run);

  const Net& net_;
  NetworkWeights& weights_;
  NetTrainingData data_;
  NetTrainerSettings settings_;
  Machine& machine_;
  NetTrainingHelp help_;
  NetTape tape_;
  ValueId decision_;
  std::size_t classes_, rows_;  // of a sample
  std::uint64_t steps_of_epoch_, step_ = 0;
  std::vector<Group> groups_;
  double summed_loss_ = 0;
  std::vector<double> losses_;
  std::vector<NetJudgement> judgements_;
  std::vector<std::vector<float>> best_;
};

}  // namespace nibble
