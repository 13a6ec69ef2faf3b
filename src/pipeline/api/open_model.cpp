// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "model/config.h"
#include "nibble/error.h"
#include "pipeline/api/model_state.h"
#include "pipeline/tell/inspect.h"

namespace nibble {

std::string_view version() noexcept { return NIBBLE_VERSION; }

const ModelInfo& Model::info() const noexcept { return state_->info; }
const std::filesystem::path& Model::path() const noexcept { return state_->checkpoint.path(); }

std::vector<TensorInfo> Model::list_tensors() const {
  std::vector<TensorInfo> tensors;
  for (const TensorListing& tensor : nibble::list_tensors(state_->checkpoint))
    tensors.push_back({tensor.name, tensor.shape, tensor.format, tensor.elements, tensor.bytes});
  return tensors;
}

std::vector<float> Model::read_tensor(std::string_view name) const {
  const StoredTensor& tensor = state_->checkpoint.tensor(name);
  if (tensor.values.format() == nullptr)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: tensor '{}' holds no weights but {}", path().string(), name, tensor.type_name));
  state_->checkpoint.require_unchanged(tensor);
  std::vector<float> values = tensor.values.decode();
  state_->checkpoint.require_unchanged(tensor);
  return values;
}

std::vector<std::int32_t> Model::encode(std::string_view text, const EncodeOptions& options) const {
  return state_->checkpoint.tokenizer().encode(text, options);
}

std::string Model::decode(std::span<const std::int32_t> tokens, bool skip_special) const {
  return state_->checkpoint.tokenizer().decode(tokens, skip_special);
}

std::string Model::piece(std::int32_t token) const { return state_->checkpoint.tokenizer().piece(token); }

bool Model::ends_generation(std::int32_t token) const { return state_->checkpoint.tokenizer().is_end(token); }

Model open_model(const std::filesystem::path& path) {
  SourceModel checkpoint = SourceModel::open(path);
  ModelInfo info = describe_model(checkpoint);
  return Model(std::make_shared<const Model::State>(Model::State{std::move(checkpoint), std::move(info)}));
}

}  // namespace nibble
