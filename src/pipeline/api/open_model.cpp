// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"
#include "pipeline/api/model_state.h"
#include "pipeline/tell/inspect.h"

namespace nibble {

std::string_view version() noexcept { return NIBBLE_VERSION; }

const ModelInfo& Model::info() const noexcept { return state_->info; }
const std::filesystem::path& Model::path() const noexcept { return state_->checkpoint.path(); }

Model open_model(const std::filesystem::path& path) {
  SourceModel checkpoint = SourceModel::open(path);
  ModelInfo info = describe_model(checkpoint);
  return Model(std::make_shared<const Model::State>(Model::State{std::move(checkpoint), std::move(info)}));
}

Machine make_machine(const MachineOptions& options) {
  return Machine(choose_isa(detect_cpu(), options.isa), options.threads);
}

}  // namespace nibble
