// SPDX-License-Identifier: Apache-2.0
//
// What a run of training reads, each once: the shape or the model that it begins with, tokenizer and text, the teacher.
// Internal to pipeline/.
//
//   const TrainingSources sources(request);
//   NetworkWeights weights = sources.first_weights(request.seed, machine.pool);
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint_writer.h"
#include "model/source_model.h"
#include "train/network_weights.h"
#include "train/text_batches.h"

namespace nibble {

struct TrainRequest;

class TrainingSources {
 public:
  // Errors name what to change: a configuration that is not there, a tokenizer of more tokens than the model has, rows
  // longer than a context, a teacher of another vocabulary.
  explicit TrainingSources(const TrainRequest& request);

  const ModelConfig& config() const { return model_ ? model_->config() : *config_; }
  const ModelTensors& tensors() const { return model_ ? model_->parts() : *tensors_; }
  const Tokenizer& tokenizer() const { return model_ ? model_->tokenizer() : *tokenizer_; }
  const SourceModel* model() const { return model_ ? &*model_ : nullptr; }        // that is gone on from
  const SourceModel* teacher() const { return teacher_ ? &*teacher_ : nullptr; }  // null: there is none
  const TokenStream& training() const { return training_; }
  const TokenStream& held_out() const { return held_out_; }

  // Rows as the network reads them: those of spelling().
  NetworkWeights first_weights(std::uint64_t seed, ThreadPool& pool) const;
  Spelling spelling() const { return model_ ? model_->spelling() : Spelling::huggingface; }
  // What lies beside the weights of a directory, but for config.json: the tokenizer, and
  std::vector<SideFile> tokenizer_files() const;
  // what means the same for a model that goes on from another, or, of a new one, how its tokens are drawn.
  std::vector<SideFile> kept_files() const;
  // What decides the course of a run beside the trainer's settings.
  std::map<std::string, std::string> identity(std::uint64_t seed, ThreadPool& pool) const;

 private:
  void require_teacher(const TrainRequest& request) const;

  std::optional<SourceModel> model_, teacher_;
  std::string config_text_;
  std::filesystem::path tokenizer_path_;
  std::optional<ModelConfig> config_;
  std::optional<ModelTensors> tensors_;
  std::optional<Tokenizer> tokenizer_;
  TokenStream training_, held_out_;
};

}  // namespace nibble
