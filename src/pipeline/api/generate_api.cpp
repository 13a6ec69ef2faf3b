// SPDX-License-Identifier: Apache-2.0
#include "engine/generate.h"
#include "nibble/generate.h"
#include "pipeline/api/loaded_state.h"

namespace nibble {

struct TokenSampler::State {
  Sampler sampler;
};

TokenSampler::TokenSampler(const SamplerOptions& options) : state_(std::make_unique<State>(State{Sampler(options)})) {}
TokenSampler::TokenSampler(TokenSampler&&) noexcept = default;
TokenSampler& TokenSampler::operator=(TokenSampler&&) noexcept = default;
TokenSampler::~TokenSampler() = default;

std::int32_t TokenSampler::choose(std::span<const float> logits, std::span<const std::int32_t> history) {
  return state_->sampler.choose(logits, history);
}

Generated generate(LoadedModel& model, std::string_view prompt, const GenerateOptions& options,
                   const TextCallback& on_text) {
  return generate(model, model.model().encode(prompt), options, on_text);
}

Generated generate(LoadedModel& model, std::span<const std::int32_t> prompt, const GenerateOptions& options,
                   const TextCallback& on_text) {
  LoadedModel::State& state = model.state();
  const auto step = [&](const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
    const std::lock_guard lock(state.busy);
    state.decoder.step(std::span(&alone, 1), logits, progress);
  };
  return generate(state.decoder, step, model.model().state().checkpoint.tokenizer(), prompt, options, on_text);
}

}  // namespace nibble
