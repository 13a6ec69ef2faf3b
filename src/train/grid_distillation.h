// SPDX-License-Identifier: Apache-2.0
//
// What a quantized model may hold freely, trained so that the model predicts what its original does: the numbers of all
// grids (scales, biases, points of tables; no integers), norms and biases, and where that is asked for embedding, head
// and codes. The loss is the divergence KL(original || model) of the next token (DWQ of MLX's tools; the scales of
// EfficientQAT, arXiv:2407.11062, are trained end to end in the same way). What is judged are the numbers as they would
// be stored, and those of the best judgement are kept: the beginning is one of them. The same bits for any number of
// threads, and of a run that was saved and taken up again. One thread at a time.
//
//   GridDistillation training(original, quantized, {stream, held_out}, settings, machine);
//   while (!training.is_done()) show(training.step());
//   training.keep_best();
//   for (DistilledTensor& tensor : training.stored()) quantized.replace(*tensor.part, std::move(tensor.values));
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/source_model.h"
#include "train/held_out_judge.h"
#include "train/optimizer.h"
#include "train/rate_schedule.h"
#include "train/state_file.h"
#include "train/tape.h"
#include "train/text_batches.h"
#include "train/trained_part.h"

namespace nibble {

struct DistillationSettings {
  std::uint64_t steps = 200;
  BatchSettings batch{.size = 4, .length = 512, .seed = 3};
  // Of AdamW, as a share of each number's size, for numbers of two bits a weight; half as much for each bit more, as
  // what is to be mended is.
  double rate = 0.004;
  // Of codes, in distances between two points, again halved for each bit more: a code changes where its slope pushes
  // it the same way for most of a run. 0: they stay.
  double code_rate = 0;
  double warm_up = 0.05;  // share of the steps
  RateFall fall = RateFall::cosine;
  float temperature = 1;
  std::uint64_t validate_every = 20;  // steps; 0: never, and what is kept is the end
  std::uint64_t patience = 0;         // judgements without a better one after which the run ends; 0: it does not
  bool trains_vectors = true;         // norms and biases
  bool trains_embedding = false;      // embedding and head, where they are in floating point
  ProductArithmetic arithmetic = ProductArithmetic::f32;
};

// At which a slope that pushes the same way for all of a run takes a position of two bits past the next points, one of
// three bits to the next, and one of four just beyond the middle.
constexpr double usual_code_rate(std::uint64_t steps) { return 6 / static_cast<double>(steps); }

// Borrowed. held_out may be empty where nothing is judged.
struct DistillationText {
  const TokenStream& training;
  const TokenStream& held_out;
};

struct DistilledTensor {
  const ModelTensor* part = nullptr;
  QuantizedTensor values;  // in the format that it has; of matrices the same codes, unless these are trained
};

struct DistillationStep {
  std::uint64_t step = 0;  // those that are done; 0: the beginning, judged
  double loss = 0;         // nats; of the beginning 0
  std::optional<double> validation = {};
};

class GridDistillation {
 public:
  // Texts and models are borrowed. Error(unusable_input): a text shorter than a batch, held-out text shorter than a
  // row; Error(unsupported): no matrix whose grids could be trained, with the reason of the first.
  GridDistillation(const SourceModel& original, const SourceModel& quantized, const DistillationText& text,
                   const DistillationSettings& settings, Machine& machine);

  bool is_done() const { return step_ >= settings_.steps || judge_.stops(); }
  // Judges the beginning the first time. Error(unusable_input): a divergence that is NaN or infinite: in which step,
  // where in the network, what to lower.
  DistillationStep step();
  void keep_best();

  std::uint64_t steps_done() const { return step_; }
  bool stopped_early() const { return judge_.stops(); }
  std::size_t num_matrices() const { return num_matrices_; }
  std::size_t num_coded() const;                                              // of these, whose codes are trained, too
  bool trains_embedding() const;                                              // or the head: in floating point
  std::uint64_t num_numbers() const;                                          // that are trained
  const std::vector<std::string>& left_alone() const { return left_alone_; }  // quantized matrices, and why

  // Divergences of the held-out text.
  std::vector<LossPoint> judgements() const { return judge_.points(); }
  std::optional<LossPoint> best() const { return judge_.best(); }

  std::vector<DistilledTensor> stored() const;

  void save(const std::filesystem::path& path, const std::map<std::string, std::string>& run);
  // Goes on where a saved run was. run: what decides the course of it beside the settings. Errors as
  // read_training_state's.
  void take_up(const std::filesystem::path& path, const std::map<std::string, std::string>& run);

  // What a run takes beside the mapped files, in bytes, at most.
  static std::uint64_t bytes(const SourceModel& original, const SourceModel& quantized,
                             const DistillationSettings& settings, Machine& machine);

 private:
  void add_matrix(const SourceModel& quantized, const ModelTensor& part);
  void add_floats(const SourceModel& quantized);
  double run(const std::vector<std::int32_t>& rows, Tape::Walk walk);
  void put_values(TrainedPart::Values values);
  std::optional<double> judge();
  TrainingState state(const std::map<std::string, std::string>& run);

  NetworkWeights original_, weights_;
  DistillationSettings settings_;
  Machine& machine_;
  Tape teacher_, tape_;
  TextBatches batches_;
  std::vector<TrainedPart> trained_;
  std::size_t num_matrices_ = 0, vocabulary_ = 0;
  std::vector<std::string> left_alone_;
  std::vector<Parameter> parameters_;
  std::vector<Optimizer> optimizers_;  // of a parameter each
  HeldOutJudge judge_;
  std::uint64_t step_ = 0;
};

}  // namespace nibble
