// SPDX-License-Identifier: Apache-2.0
#include "model/source_model.h"

#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "model/sound_tensors.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {

struct SourceModel::Meaning {
  std::mutex mutex;
  std::optional<ModelConfig> config;
  std::optional<ModelTensors> parts;
  std::optional<Tokenizer> tokenizer;
  std::unordered_map<std::string, StoredTensor> experts;  // of stacks, by name and number
};

SourceModel SourceModel::open(const std::filesystem::path& path) { return SourceModel(Checkpoint::open(path)); }

SourceModel::SourceModel(Checkpoint&& checkpoint)
    : Checkpoint(std::move(checkpoint)), meaning_(std::make_unique<Meaning>()) {}
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
  if (!meaning_->parts) {
    ModelTensors parts(known);
    require_no_strangers(*this, known, parts);
    meaning_->parts.emplace(std::move(parts));
  }
  return *meaning_->parts;
}

const StoredTensor& SourceModel::holder(const ModelTensor& part) const {
  if (spelling() == Spelling::huggingface && !part.hf_stack.empty() && find(part.hf_name) == nullptr)
    if (const StoredTensor* const other = find(part.hf_stack)) return *other;
  return tensor(part.name(spelling()));
}

const StoredTensor& SourceModel::stored(const ModelTensor& part) const {
  const StoredTensor& whole = holder(part);
  if (part.experts == 0 || whole.name == part.hf_name) return whole;
  // Of a directory's stacks several kinds may share one, each with its rows below the other's.
  const std::uint64_t kinds = spelling() == Spelling::gguf ? 1 : part.kinds, place = kinds == 1 ? 0 : part.place;
  const std::string name = fmt::format("{}[{}]", whole.name, part.expert * kinds + place);
  const std::scoped_lock lock(meaning_->mutex);
  if (const auto known = meaning_->experts.find(name); known != meaning_->experts.end()) return known->second;
  const Shape expected = {part.experts, kinds * part.shape[0], part.shape[1]};
  if (!is_same_shape(whole.shape, expected) || !whole.view.format)
    throw Error(
        ErrorKind::corrupt,
        fmt::format("{}: tensor '{}' does not have the shape that the model's configuration asks for: {}, not {}",
                    whole.file, whole.name, shape_text(whole.shape), shape_text(expected)));
  StoredTensor one = whole;
  one.name = name;
  one.shape = part.shape;
  one.view = view_of_rows(whole.view, (part.expert * kinds + place) * part.shape[0], part.shape[0]);
  one.bytes = one.view.bytes();
  one.data = one.view.planes.size() == 1 ? one.view.planes.front() : std::span<const std::byte>{};
  one.offset += (part.expert * kinds + place) * one.bytes;
  return meaning_->experts.emplace(name, std::move(one)).first->second;
}

const Tokenizer& SourceModel::tokenizer() const {
  if (!has_tokenizer()) config();  // a network that is not known matters more than a tokenizer that is not there
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->tokenizer) meaning_->tokenizer.emplace(Tokenizer::from_checkpoint(*this));
  return *meaning_->tokenizer;
}

}  // namespace nibble
