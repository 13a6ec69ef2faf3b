// SPDX-License-Identifier: Apache-2.0
//
// What a decoder needs to know about a model, read from config.json or from GGUF keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.h"

namespace nibble {

// proportional: frequency_divisors are those of proportional_divisors.
enum class RopeScaling { none, linear, llama3, longrope, yarn, proportional };

struct RopeConfig {
  double base = 10000;
  std::uint64_t rotary_dim = 0;  // dimensions of a head that rotate
  bool half_split = true;        // pairs (i, i + d/2) as in HF; false: (2i, 2i+1) as in GGUF files of arch llama
  bool whole_borders = true;     // yarn: channels begin and end to be blended at whole ones
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  // llama3 and yarn: channels that turn more often than the high one in original_context positions are left alone, less
  // often than the low one stretched by the factor, those between blended, each in a way of its own.
  double low_frequency_factor = 1, high_frequency_factor = 4;
  std::uint64_t original_context = 8192;
  std::vector<float> frequency_divisors;  // GGUF rope_freqs.weight, [rotary_dim / 2]; empty when absent
  // longrope: divisors [rotary_dim / 2] of sequences up to original_context and of longer ones.
  std::vector<float> short_factors = {}, long_factors = {};
  float magnitude = 1;  // longrope, yarn: what cosines and sines are multiplied by
  // yarn: queries at position p are multiplied by 1 + query_growth ln(1 + floor(p / original_context)).
  float query_growth = 0;
};

struct ModelConfig {
  std::string architecture;  // "llama": our name for the family
  std::uint64_t vocab_size = 0, hidden = 0, intermediate = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0,
                context = 0;
  float norm_epsilon = 1e-6f;
  bool tied_embedding = false;
  bool attention_bias = false;  // q, k and v
  bool output_bias = false;     // o
  bool mlp_bias = false;        // gate, up and down
  bool norms_heads = false;     // queries and keys are normed head by head, of families in which models differ in that
  // Layers that slide attend to the last sliding_window positions, themselves included, the others to all.
  std::uint64_t sliding_window = 0;  // 0: none slides
  std::vector<bool> slides;          // by layer; empty: none
  RopeConfig rope;
  std::optional<RopeConfig> sliding_rope;            // of layers that slide, where it is another
  std::vector<bool> unturned;                        // by layer: positions turn nothing there; empty: none
  double query_pre_attn_scalar = 0;                  // scores are divided by its root; 0: head_dim
  float attention_scale = 0;                         // scores are multiplied by it instead; 0: they are not
  float attention_soft_cap = 0, logit_soft_cap = 0;  // 0: none
  // What the embedding, and what every branch adds to the stream, is multiplied by; what logits are divided by.
  float embedding_scale = 1, residual_scale = 1, logit_divisor = 1;

  // Mixtures of experts; 0: there are none.
  std::uint64_t num_experts = 0, experts_used = 0, expert_intermediate = 0;
  bool normalizes_routing = true;         // the weights of the experts used are made to sum to 1
  std::uint64_t shared_intermediate = 0;  // of an expert beside these that sees every token; 0: there is none
  std::vector<bool> dense;                // by layer: one MLP in place of experts; empty: none of a model with experts
  // How experts are chosen and weighed, as Route has it.
  bool routes_by_sigmoid = false, corrects_routing = false, groups_count_two = true;
  std::uint64_t expert_groups = 1, expert_groups_used = 1;
  float routing_factor = 1, routing_offset = 0;
  float swiglu_alpha = 0, swiglu_limit = 0;  // of experts with ClampedSwiglu; 0: they have another activation

  // Keys and values are made of a latent vector, queries of one of their own; 0: they are not. A head's keys have
  // channels that stand still beside head_dim that turn, and scores are multiplied by a factor beside the root of their
  // number.
  std::uint64_t latent = 0, query_latent = 0, plain_key_dim = 0, value_dim = 0;
  double score_factor = 1;

  // Of layers that do not slide, where they differ from those that do; 0: they do not.
  std::uint64_t full_head_dim = 0, full_kv_heads = 0;
  bool full_keys_are_values = false;  // what makes keys makes values, too, before it is normed and turned
  // The last layers attend to the keys and values of the last layer before them that slides or does not as they do.
  std::uint64_t sharing_layers = 0;
  std::uint64_t sharing_intermediate = 0;  // the width of their MLP; 0: the others'
  std::uint64_t per_layer_width = 0;       // of an input of its own that a layer has for every token; 0: there is none
  bool scales_layers = false;              // what leaves a layer is multiplied by a number that it has

  // Layers that recur have a gated delta rule behind a convolution in place of attention.
  std::vector<bool> recurs;  // by layer; empty: none
  std::uint64_t delta_heads = 0, delta_key_heads = 0, delta_key_dim = 0, delta_value_dim = 0, convolution_taps = 0;
  bool tiles_delta_heads = false;  // heads that share a key head stand apart, as in GGUF files; else side by side
  std::uint64_t delta_keys() const { return delta_key_heads * delta_key_dim; }
  std::uint64_t delta_values() const { return delta_heads * delta_value_dim; }
  std::uint64_t guessing_layers = 0;  // that a file has behind the others, which guess further tokens; they are not run
  // Rotary pairs that turn by what of a picture; a text turns them all alike. Empty: nothing is said.
  std::vector<std::uint64_t> rope_sections;

  bool is_recurrent(std::int64_t layer) const { return !recurs.empty() && recurs[static_cast<std::size_t>(layer)]; }
  bool has_experts(std::int64_t layer) const {
    return num_experts != 0 && (dense.empty() || !dense[static_cast<std::size_t>(layer)]);
  }
  bool is_sliding(std::int64_t layer) const { return !slides.empty() && slides[static_cast<std::size_t>(layer)]; }
  std::uint64_t head_dim_of(std::int64_t layer) const {
    return is_sliding(layer) || full_head_dim == 0 ? head_dim : full_head_dim;
  }
  std::uint64_t kv_heads_of(std::int64_t layer) const {
    return is_sliding(layer) || full_kv_heads == 0 ? kv_heads : full_kv_heads;
  }
  bool is_sharing(std::int64_t layer) const { return static_cast<std::uint64_t>(layer) >= layers - sharing_layers; }
  std::uint64_t intermediate_of(std::int64_t layer) const {
    return is_sharing(layer) && sharing_intermediate != 0 ? sharing_intermediate : intermediate;
  }
  bool is_unturned(std::int64_t layer) const { return !unturned.empty() && unturned[static_cast<std::size_t>(layer)]; }
  std::uint64_t window_of(std::int64_t layer) const { return is_sliding(layer) ? sliding_window : 0; }
  const RopeConfig& rope_of(std::int64_t layer) const {
    return is_sliding(layer) && sliding_rope ? *sliding_rope : rope;
  }
};

// More than any model has.
inline constexpr std::uint64_t kMaxLayers = 4096;

// Names the tensors of a layer in the checkpoint's own spelling, and reads the configuration from either container.
// Error(unsupported) for an unknown architecture (lists the known), Error(corrupt) for absurd or missing values.
ModelConfig read_model_config(const Checkpoint& checkpoint);

// Whether two configurations ask for the same tensors and put them together alike, as far as both containers say it.
// What they say in other words (windows, scaled positions) is not compared.
bool is_same_network(const ModelConfig& a, const ModelConfig& b);

// By layer: every layer slides but each full_every-th; 0: all slide.
std::vector<bool> usual_sliding_layers(std::uint64_t layers, std::uint64_t full_every);

// Inverse frequencies [rotary_dim / 2] with scaling applied (formulas: Hugging Face modeling_rope_utils; Llama 3.1
// model card); of longrope those of short sequences, and of long ones, which other scalings do not have: empty.
std::vector<double> rope_inverse_frequencies(const RopeConfig& rope);
std::vector<double> rope_long_frequencies(const RopeConfig& rope);
// Divisors [rotary_dim / 2] of rotary positions that turn only the first pairs, and those by 1 / factor: the others are
// divided by so much that no context turns them.
std::vector<float> proportional_divisors(std::uint64_t rotary_dim, std::uint64_t turning_pairs, double factor = 1);
// The other way round: how many pairs turn; nullopt: divisors that say something else. factor: set to theirs.
std::optional<std::uint64_t> turning_pairs(const std::vector<float>& divisors, double& factor);
// What longrope multiplies cosines and sines by where nothing says it: sqrt(1 + ln(factor) / ln(original_context)), 1
// for factors up to 1.
float longrope_magnitude(double factor, std::uint64_t original_context);
inline constexpr double kYarnFastTurns = 32, kYarnSlowTurns = 1;  // yarn's usual high and low factor
// The same of yarn (Peng et al. 2023): 1 + 0.1 scale ln(factor).
double yarn_magnitude(double factor, double scale = 1);
// Where other layers have yarn, llama.cpp multiplies the positions of layers that slide by this: 1 where the magnitude
// is yarn's usual one.
double sliding_magnitude(const RopeConfig& rope);

}  // namespace nibble
