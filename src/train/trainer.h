// SPDX-License-Identifier: Apache-2.0
//
// A run of training, step by step: batches of text, there and back, the gradient shortened, optimizers, the rate's
// schedule; now and then the loss of text that is held out. What a run is follows from its settings, the text and the
// weights that it begins with: the same bits for any number of threads, and of a run that was saved and taken up again.
// One thread at a time.
//
//   Trainer trainer(network, weights, {training, held_out}, settings, machine);
//   if (exists(state)) trainer.take_up(state, run);
//   while (!trainer.is_done()) show(trainer.step());
//   trainer.keep_best();
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/arch/architecture.h"
#include "train/astray.h"
#include "train/held_out_judge.h"
#include "train/optimizer.h"
#include "train/rate_schedule.h"
#include "train/rounded_weights.h"
#include "train/state_file.h"
#include "train/tape.h"
#include "train/text_batches.h"

namespace nibble {

// muon: matrices of layers by Muon, all else by AdamW.
enum class OptimizerKind : std::uint8_t { muon, adamw, sgd };
std::string_view optimizer_name(OptimizerKind kind);
std::optional<OptimizerKind> find_optimizer(std::string_view name);

struct TrainerSettings {
  std::uint64_t steps = 1000;
  BatchSettings batch{};
  std::uint64_t accumulate = 1;  // batches of a step
  OptimizerKind optimizer = OptimizerKind::muon;
  double rate = 0.004;         // of AdamW and of SGD
  double matrix_rate = 0.006;  // of Muon
  double scale_rate = 0.001;   // of the scales of rounded weights, by AdamW, as a share of each
  double weight_decay = 0.02;  // of matrices of layers
  double clip = 1;             // the longest gradient; 0: any
  RateFall fall = RateFall::cosine;
  double warm_up = 0.01, hold = 0.29, last = 0;  // shares of the steps, and of the rate at the end
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  KvType kv = KvType::f32;             // as a cache of which keys and values are rounded; not a teacher's
  std::uint64_t validate_every = 100;  // steps; 0: never
  std::uint64_t patience = 0;          // validations without a better one after which the run ends; 0: it does not
  bool begins_trained = false;         // what it begins with is judged, too; with patience it may be the best
  // With a teacher: how much of the loss is the divergence from what it says, at which temperature; the rest is the
  // text's own.
  double teacher_share = 1;
  double temperature = 1;
};

// Borrowed. held_out may be empty.
struct TrainingText {
  const TokenStream& training;
  const TokenStream& held_out;
  bool is_to_judge = false;  // held_out was given to judge by: less than a row of it is an error, whatever the settings
};

// Borrowed. Null: there is none.
struct TrainingHelp {
  Tape* teacher = nullptr;            // of a network with the same vocabulary
  RoundedWeights* rounded = nullptr;  // those of the weights that are trained behind what a format stores of them
};

struct TrainingStep {
  std::uint64_t step = 0;    // those that are done
  double loss = 0;           // mean of its tokens, nats
  double gradient_norm = 0;  // before it was shortened
  double rate_factor = 0;
  std::optional<double> validation = {};  // where it was time
};

class Trainer {
 public:
  // weights: trained in place; which of them, they say. Error(unusable_input): text shorter than a batch, held-out
  // text shorter than a row;
  // Error(invalid_argument): settings that no run can have, by name.
  Trainer(const Network& network, NetworkWeights& weights, const TrainingText& text, const TrainerSettings& settings,
          Machine& machine, const TrainingHelp& help = {});

  bool is_done() const { return step_ >= settings_.steps || judge_.stops(); }
  std::uint64_t steps_done() const { return step_; }
  bool stopped_early() const { return judge_.stops(); }
  // Error(unusable_input): a loss, of the held-out text, too, or a number that training has made NaN or infinite; says
  // in which step, where in the network, what to lower. The same where held-out text is judged with steps to come, no
  // better state is kept to fall back on, and the run is astray as train/astray.h has it.
  TrainingStep step();
  double validation_loss();  // of what is made small; needs a row of held-out text
  // Puts the weights of the best validation in place, where patience has kept them, else the last: as they are stored.
  void keep_best();
  // Behind all steps: what speaks against the last weights, where they are what is kept, with figures; empty: nothing.
  std::string doubt() const;

  std::vector<LossPoint> curve() const;  // at most about 200 points: means of the steps since the last one
  std::vector<LossPoint> validations() const { return judge_.points(); }  // step 0: of what the run begins with
  std::optional<LossPoint> best_validation() const { return judge_.best(); }

  void save(const std::filesystem::path& path, const std::map<std::string, std::string>& run);
  // Goes on where a saved run was. run: what decides the course of it beside the settings. Errors as
  // read_training_state's.
  void take_up(const std::filesystem::path& path, const std::map<std::string, std::string>& run);

  // What a run of all of a model's tensors takes, in bytes: the weights, their gradients and what optimizers remember.
  static std::uint64_t weight_bytes(std::span<const ModelTensor> tensors, const TrainerSettings& settings);
  // And its tape.
  static std::uint64_t batch_bytes(const Network& network, const TrainerSettings& settings, Machine& machine);

 private:
  TrainingState state(const std::map<std::string, std::string>& run);
  // Of rows at hand. Both are borrowed.
  LossFunction loss_of(std::span<const std::int32_t> read, std::span<const std::int32_t> predicted,
                       const SequenceBatch& shape);
  void put_weights();  // of masters that are rounded
  bool is_beginning_due() const;
  CourseOfLosses course() const;
  void require_learnt() const;
  void require_finite_weights() const;
  std::uint64_t stride() const { return (settings_.steps + 199) / 200; }
  [[noreturn]] void refuse_loss(double loss, const std::string& what, std::uint64_t step) const;

  NetworkWeights& weights_;
  TrainerSettings settings_;
  Machine& machine_;
  TrainingHelp help_;
  Tape tape_;
  TextBatches batches_;
  // What one optimizer changes.
  struct Group {
    std::vector<Parameter> parameters;
    Optimizer optimizer;
  };
  std::vector<Group> groups_;
  std::vector<Parameter> parameters() const;  // of all groups
  HeldOutJudge judge_;
  std::uint64_t step_ = 0;
  std::uint64_t vocabulary_ = 0;
  double summed_loss_ = 0;  // since the last point of the curve
  std::vector<float> curve_;
  std::vector<float> input_grids_;  // as a state file has them: scale and zero of each that is rounded
};

}  // namespace nibble
