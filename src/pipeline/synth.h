// SPDX-License-Identifier: Apache-2.0
//
// Models with random weights in the shape of real ones, so that size and speed can be measured without a download. The
// same seed gives the same bytes on any number of threads.
//
//   SynthSummary s = synthesize_model(find_synth_shape("llama-3.2-1b"), {.output = "model"}, pool, {});
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "model/config.h"
#include "nibble/progress.h"

namespace nibble {

struct SynthShape {
  std::string name{};
  std::string architecture =
      "llama";  // or another family's name; what its configurations say besides is as its class has it
  std::uint64_t hidden = 0, intermediate = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0, context = 0;
  double rope_theta = 10000, norm_epsilon = 1e-5;
  bool tied = false;
  double llama3_factor = 0;          // of llama3 rope scaling over 8192; 0: no scaling
  std::uint64_t sliding_window = 0;  // of families that slide; 0: none
  double linear_factor = 0;          // of linear rope scaling, in layers that do not slide; 0: no scaling
  std::uint64_t rotary_dim = 0;      // channels of a head that positions turn; 0: all
  std::uint64_t num_experts = 0, experts_used = 0;  // 0: no experts
  std::uint64_t expert_intermediate = 0;            // 0: intermediate
  // Of recurrent layers, in families that have some; 0: as their class has it.
  std::uint64_t delta_heads = 0, delta_key_heads = 0, delta_dim = 0;
  std::uint64_t full_every = 0;  // every so many layers one attends, or, within a window the others, to all positions
  // Of Gemma 4: the last layers, which share keys and values, and the width of each layer's own input.
  std::uint64_t sharing_layers = 0, per_layer_width = 0;
  // Of latent attention: 0: queries have no latent vector; channels of a head that stand still and of its values, 0: as
  // their class has them. Experts that every token sees, and the first layers, which have none.
  std::uint64_t query_latent = 0, plain_key_dim = 0, value_dim = 0, shared_experts = 1, dense_layers = 0;
  bool routes_by_softmax = false;  // where the class routes by sigmoids
  std::uint64_t shared_intermediate = 0;  // of a shared expert, in families that have one; 0: as the others
};

std::vector<SynthShape> list_synth_shapes();
// Error(invalid_argument) lists the known names.
SynthShape find_synth_shape(std::string_view name);

// The configuration that a model of this shape has.
ModelConfig synth_config(const SynthShape& shape);

struct SynthOptions {
  std::filesystem::path output{};
  std::string dtype = "bf16";  // or "f16"
  std::uint64_t seed = 1;
};

struct SynthSummary {
  std::filesystem::path output;
  SynthShape shape;
  std::uint64_t parameters = 0, bytes = 0;
};

// Error(invalid_argument) for a shape that no model can have (head counts that do not divide, a vocabulary below the
// 259 tokens that the tokenizer needs); io, resource, cancelled.
SynthSummary synthesize_model(const SynthShape& shape, const SynthOptions& options, ThreadPool& pool,
                              const ProgressCallback& progress);

// tokenizer.json of a byte-fallback BPE: <unk>, <s>, </s>, 256 byte tokens, a space, then unique names up to the
// vocabulary's size.
std::string synth_tokenizer_json(std::uint64_t vocab);

}  // namespace nibble
