// SPDX-License-Identifier: Apache-2.0
#include "engine/generate.h"
#include "nibble/generate.h"
#include "pipeline/api/model_state.h"

namespace nibble {

GeneratedText generate_text(const Model& model, std::string_view prompt, const GenerateRequest& request,
                            const std::function<bool(std::string_view)>& on_text) {
  Machine machine = make_machine(request.machine);
  const Tokenizer& tokenizer = model.state().checkpoint.tokenizer();
  DecoderOptions decoder_options;
  decoder_options.kernels.activations = ActivationMode::native;
  decoder_options.progress = request.progress;
  Decoder decoder(model.state().checkpoint, decoder_options, machine);
  GenerateOptions options;
  options.max_tokens = request.max_tokens;
  options.sampler.temperature = request.temperature;
  options.sampler.top_k = request.top_k;
  options.sampler.top_p = request.top_p;
  options.sampler.min_p = request.min_p;
  options.sampler.repetition_penalty = request.repetition_penalty;
  options.sampler.seed = request.seed;
  Generated made = generate(decoder, tokenizer, tokenizer.encode(prompt), options, on_text);
  return {std::move(made.text), made.prompt_tokens, made.tokens.size(), made.prompt_seconds, made.decode_seconds};
}

}  // namespace nibble
