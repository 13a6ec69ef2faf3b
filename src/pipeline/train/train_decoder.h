// SPDX-License-Identifier: Apache-2.0
//
// A decoder trained on text, from nothing in the shape that a config.json says or going on from a model, alone or to
// say what a teacher says, written as a Hugging Face directory. While it runs its state lies beside the output; a run
// that was killed goes on there, and ends in the same bytes. One caller at a time.
//
//   const TrainSummary summary = train_decoder(request, machine);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nibble/progress.h"
#include "train/trainer.h"

namespace nibble {

struct TrainRequest {
  std::filesystem::path config{};     // config.json, or a directory that holds it
  std::filesystem::path tokenizer{};  // a directory; empty: that of config
  std::filesystem::path from{};       // a model in place of these two, whose weights the run begins with
  std::filesystem::path teacher{};    // a model whose words for what follows are learnt; empty: the text's are
  std::string text;                   // documents between blank lines, as DocumentOptions say
  std::string validation;             // empty: held_out of the text
  double held_out = 0.01;
  DocumentOptions documents{};
  TrainerSettings settings{};
  std::uint64_t seed = 1;  // of the weights that it begins with
  // A format, or a recipe's name: matrices are rounded to it while they are trained, and stored so. Empty: they are
  // not.
  std::string quantize{};
  std::string embedding{}, head{};  // with quantize, formats of these by themselves; a tied matrix is both
  std::string estimator{};          // of slopes through rounding; empty: what serves each format best
  std::filesystem::path masters{};  // a directory for the numbers behind the rounded ones, in f32; empty: they go
  std::string dtype{};             // bf16, f16 or f32: as the result is stored; empty: as what it goes on from, or bf16
  std::uint64_t save_every = 100;  // steps
  std::filesystem::path output;
  ProgressCallback progress = {};                          // stage "train", in steps
  std::function<void(const std::string& note)> note = {};  // what is known before the first step
};

struct TrainSummary {
  std::filesystem::path output;
  std::uint64_t parameters = 0, bytes = 0, tokens = 0;  // tokens: of the training text
  std::uint64_t steps = 0, resumed_at = 0;
  bool stopped_early = false;
  std::vector<LossPoint> curve, validations;
  std::optional<LossPoint> kept;  // with patience: the judgement whose weights were written
};

// By how much AdamW moves masters in a step where a model is gone on from, and rounded to this: where points lie
// closer, less. Errors as train_decoder's for formats.
double rounded_rate(const std::string& quantize);

// Errors name what to change: a configuration without weights' meaning, a tokenizer of more tokens than the model has,
// a text shorter than a batch, memory that does not suffice, a loss that is none, a state of other settings.
// Error(cancelled): the state is saved.
TrainSummary train_decoder(const TrainRequest& request, Machine& machine);

}  // namespace nibble
