// SPDX-License-Identifier: Apache-2.0
#include "model/source_model.h"

#include <mutex>
#include <optional>
#include <utility>

namespace nibble {

struct SourceModel::Meaning {
  std::mutex mutex;
  std::optional<ModelConfig> config;
  std::optional<ModelTensors> parts;
  std::optional<Tokenizer> tokenizer;
};

SourceModel SourceModel::open(const std::filesystem::path& path) { return SourceModel(Checkpoint::open(path)); }

SourceModel::SourceModel(Checkpoint&& checkpoint) : Checkpoint(std::move(checkpoint)), meaning_(std::make_unique<Meaning>()) {}
SourceModel::SourceModel(SourceModel&&) noexcept = default;
SourceModel& SourceModel::operator=(SourceModel&&) noexcept = default;
SourceModel::~SourceModel() = default;

const ModelConfig& SourceModel::config() const {
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->config) meaning_->config = read_model_config(*this);
  return *meaning_->config;
}

const ModelTensors& SourceModel::parts() const {
  const ModelConfig& known = config();
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->parts) meaning_->parts.emplace(known);
  return *meaning_->parts;
}

const Tokenizer& SourceModel::tokenizer() const {
  if (!has_tokenizer()) config();  // a network that is not known matters more than a tokenizer that is not there
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->tokenizer) meaning_->tokenizer.emplace(Tokenizer::from_checkpoint(*this));
  return *meaning_->tokenizer;
}

}  // namespace nibble
