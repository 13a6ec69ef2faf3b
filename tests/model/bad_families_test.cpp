// SPDX-License-Identifier: Apache-2.0
//
// A model of every family with one thing wrong: the error names the key or the tensor, and what it could have been.
#include <gtest/gtest.h>

#include <functional>
#include <ostream>

#include "tiny_models.h"

namespace nibble {
namespace {

using Json = nlohmann::json;
using Tensors = std::map<std::string, EditableModel::Stored>;

struct Bad {
  const char* model;
  Json config;  // merged into the model's; null takes a key away
  std::function<void(Tensors&)> edit;
  ErrorKind kind;
  const char* message;  // without the file that it begins with
};

void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.model << ": " << bad.message; }

// Opens the model and asks for its tensors, as everyone does who runs or quantizes it.
std::pair<ErrorKind, std::string> refusal(const std::filesystem::path& path) {
  return error_of([&] {
    const SourceModel source = SourceModel::open(path);
    source.require_parts();
  });
}

class BadFamily : public testing::TestWithParam<Bad> {};

TEST_P(BadFamily, IsRefusedByName) {
  const Bad& bad = GetParam();
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / bad.model);
  if (!bad.config.is_null()) model.config.merge_patch(bad.config);
  if (bad.edit) bad.edit(model.tensors);
  model.write(scratch.path());
  const auto [kind, text] = refusal(scratch.path());
  EXPECT_EQ(kind, bad.kind) << text;
  EXPECT_NE(text.find(bad.message), std::string::npos) << text;
  EXPECT_TRUE(text.starts_with(scratch.path().string())) << text;
}

std::function<void(Tensors&)> without(const char* name) {
  return [name](Tensors& tensors) { ASSERT_EQ(tensors.erase(name), 1u) << name; };
}
std::function<void(Tensors&)> with(const char* name, const char* like) {
  return [=](Tensors& tensors) { tensors[name] = tensors.at(like); };
}

constexpr auto kCorrupt = ErrorKind::corrupt, kUnsupported = ErrorKind::unsupported, kNotFound = ErrorKind::not_found;

INSTANTIATE_TEST_SUITE_P(
    Keys, BadFamily,
    testing::Values(
        Bad{"tiny_qwen3", {{"num_hidden_layers", nullptr}}, {}, kCorrupt, "key is missing: num_hidden_layers"},
        Bad{"tiny_qwen3", {{"head_dim", 7}}, {}, kCorrupt, "head_dim must be even for rotary positions: 7"},
        Bad{"tiny_qwen3",
            {{"use_sliding_window", true}, {"sliding_window", 0}, {"max_window_layers", 0}},
            {},
            kCorrupt,
            "sliding_window must be at least 1, or null for none: 0"},
        Bad{"tiny_mistral3",
            {{"rope_parameters", {{"rope_type", "default"}, {"llama_4_scaling_beta", 0.1}}}},
            {},
            kUnsupported,
            "queries can only grow with their position where rope_type is yarn; rope_parameters.llama_4_scaling_beta"},
        Bad{"tiny_yarn",
            {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}, {"llama_4_scaling_beta", 0.1}}}},
            {},
            kUnsupported,
            "queries that grow with their position cannot be run in this family; rope_scaling.llama_4_scaling_beta"},
        Bad{"tiny_bitnet", {{"hidden_act", "silu"}}, {}, kUnsupported, "hidden_act must be relu2: silu"},
        Bad{"tiny_smollm3",
            {{"use_sliding_window", true}},
            {},
            kUnsupported,
            "layers within a window cannot be run in this family; use_sliding_window"},
        Bad{"tiny_smollm3",
            {{"no_rope_layers", {1, 0}}},
            {},
            kCorrupt,
            "no_rope_layers must be a list with a 0 or a 1 for every layer: [1,0]"},
        Bad{"tiny_olmoe", {{"num_experts", 0}}, {}, kCorrupt, "num_experts must be at least 1: 0"},
        Bad{"tiny_granitemoe", {{"num_local_experts", 0}}, {}, kCorrupt, "num_local_experts must be at least 1: 0"},
        Bad{"tiny_lfm2", {{"conv_bias", true}}, {}, kUnsupported, "biases of convolutions cannot be run; conv_bias"},
        Bad{"tiny_lfm2", {{"conv_L_cache", 1}}, {}, kCorrupt, "conv_L_cache must be between 2 and 32: 1"},
        Bad{"tiny_lfm2",
            {{"layer_types", nullptr}, {"full_attn_idxs", {1, 3}}},
            {},
            kCorrupt,
            "full_attn_idxs must be a list of the model's layers: [1,3]"},
        Bad{"tiny_lfm2", {{"norm_eps", 2.0}}, {}, kCorrupt, "norm_eps must be a small positive number: 2"},
        Bad{"tiny_lfm2", {{"block_ff_dim", 0}}, {}, kCorrupt, "block_ff_dim must lie between 1 and 4194304: 0"},
        Bad{"tiny_olmoe",
            {{"clip_qkv", 8.0}},
            {},
            kUnsupported,
            "queries, keys and values that are bounded cannot be run in this family; clip_qkv must be null"},
        Bad{"tiny_granite", {{"residual_multiplier", -1}}, {}, kCorrupt, "residual_multiplier must be positive: -1.0"},
        Bad{"tiny_granite_hybrid",
            {{"layer_types", {"attention", "mamba"}}},
            {},
            kUnsupported,
            "layers can be of full_attention or attention; layer_types: \"mamba\""},
        Bad{"tiny_granite_hybrid",
            {{"layer_types", nullptr}},
            {},
            kUnsupported,
            "layers that recur cannot be run in this family; layer_types must be attention alone"},
        Bad{"tiny_granite_hybrid",
            {{"num_local_experts", 8}},
            {},
            kUnsupported,
            "experts of this class cannot be run; num_local_experts must be 0"},
        Bad{"tiny_hunyuan",
            {{"rope_scaling", {{"alpha", nullptr}}}},
            {},
            kUnsupported,
            "positions that follow the length of a text cannot be run; alpha is missing"},
        Bad{"tiny_hunyuan",
            {{"rope_scaling", {{"type", "dynamic"}, {"alpha", -2.0}}}},
            {},
            kCorrupt,
            "alpha must be positive: -2.0"},
        Bad{"tiny_qwen3",
            {{"rope_scaling", {{"type", "dynamic"}, {"alpha", 2.0}}}},
            {},
            kUnsupported,
            "rotary scaling can be default, linear, llama3, longrope, yarn or proportional; rope_scaling.rope_type: "
            "dynamic"},
        Bad{"tiny_qwen2moe",
            {{"use_sliding_window", true}},
            {},
            kUnsupported,
            "layers within a window cannot be run in this family; use_sliding_window"},
        Bad{"tiny_mistral",
            {{"sliding_window", 0}},
            {},
            kCorrupt,
            "sliding_window must be at least 1, or null for none: 0"},
        Bad{"tiny_phi3",
            {{"sliding_window", 0}},
            {},
            kCorrupt,
            "sliding_window must be at least 1, or null for none: 0"},
        Bad{"tiny_mixtral",
            {{"sliding_window", 0}},
            {},
            kCorrupt,
            "sliding_window must be at least 1, or null for none: 0"},
        Bad{"tiny_gemma2",
            {{"sliding_window", 0}},
            {},
            kCorrupt,
            "sliding_window must be at least 1 where layers slide: 0"},
        Bad{"tiny_gemma3",
            {{"sliding_window", 0}},
            {},
            kCorrupt,
            "sliding_window must be at least 1 where layers slide: 0"},
        Bad{"tiny_gemma3",
            {{"layer_types", {"sliding_attention"}}},
            {},
            kCorrupt,
            "layer_types must be a list of 3 names, as num_hidden_layers says: 1"},
        Bad{"tiny_gemma2",
            {{"attn_logit_softcapping", 0}},
            {},
            kCorrupt,
            "attn_logit_softcapping must be positive, or null for none: 0"},
        Bad{"tiny_gemma2",
            {{"final_logit_softcapping", 0.0}},
            {},
            kCorrupt,
            "final_logit_softcapping must be positive, or null for none: 0.0"},
        Bad{"tiny_gemma3",
            {{"final_logit_softcapping", 0}},
            {},
            kCorrupt,
            "final_logit_softcapping must be positive, or null for none: 0"},
        Bad{"tiny_gemma3",
            {{"use_bidirectional_attention", true}},
            {},
            kUnsupported,
            "tokens that attend to later ones cannot be run; use_bidirectional_attention"},
        Bad{"tiny_gemma3",
            {{"hidden_activation", "silu"}},
            {},
            kUnsupported,
            "hidden_activation must be gelu_pytorch_tanh: silu"},
        Bad{"tiny_phi3", {{"hidden_act", "gelu"}}, {}, kUnsupported, "hidden_act must be silu: gelu"},
        Bad{"tiny_gemma4_moe", {{"top_k_experts", 7}}, {}, kCorrupt, "top_k_experts must lie between 1 and 6: 7"},
        Bad{"tiny_glm", {{"hidden_act", "gelu"}}, {}, kUnsupported, "hidden_act must be silu: gelu"},
        Bad{"tiny_glm4", {{"hidden_act", "relu"}}, {}, kUnsupported, "hidden_act must be silu: relu"},
        Bad{"tiny_gptoss",
            {{"original_max_position_embeddings", 32}},
            {},
            kCorrupt,
            "original_max_position_embeddings must be the same as in the rotary group (64): 32"},
        Bad{"tiny_gqa_llama3rope",
            {{"original_max_position_embeddings", 7}},
            {},
            kCorrupt,
            "original_max_position_embeddings must be the same as in the rotary group"},
        Bad{"tiny_qwen35moe",
            {{"moe_intermediate_size", 0}},
            {},
            kCorrupt,
            "moe_intermediate_size must lie between 1 and 4194304: 0"},
        Bad{"tiny_phi3",
            {{"rope_scaling", {{"long_factor", nullptr}}}},
            {},
            kCorrupt,
            "rope_scaling.long_factor must be a list of 6 numbers: null"},
        Bad{"tiny_mixtral",
            {{"num_experts_per_tok", 6}},
            {},
            kCorrupt,
            "num_experts_per_tok must lie between 1 and 5: 6"},
        Bad{"tiny_deepseek2",
            {{"n_group", 3}},
            {},
            kCorrupt,
            "groups must share the experts evenly: 3 groups, 8 experts; n_group, topk_group"},
        Bad{"tiny_deepseek2",
            {{"topk_group", 5}},
            {},
            kCorrupt,
            "of the groups of experts 1 to 4 must be used: 5; n_group, topk_group"},
        Bad{"tiny_deepseek2",
            {{"topk_group", 1}},
            {},
            kCorrupt,
            "the groups that are used must have the experts that are: 1 groups of 2 experts, 3 used"},
        Bad{"tiny_deepseek2", {{"scoring_func", "softmax"}}, {}, kUnsupported, "scoring_func must be sigmoid: softmax"},
        Bad{"tiny_deepseek2",
            {{"attention_bias", true}},
            {},
            kUnsupported,
            "biases of attention cannot be run in this family; attention_bias"},
        Bad{"tiny_deepseek2",
            {{"qk_rope_head_dim", 15}},
            {},
            kCorrupt,
            "heads must have 1 to 1024 channels that stand still, as many that turn, in pairs"},
        Bad{"tiny_deepseek2", {{"kv_lora_rank", 40}}, {}, kCorrupt, "kv_lora_rank: 40"},
        Bad{"tiny_deepseek2", {{"routed_scaling_factor", 0}}, {}, kCorrupt, "routed_scaling_factor must be positive"},
        Bad{"tiny_deepseek2_lite",
            {{"norm_topk_prob", true}},
            {},
            kUnsupported,
            "readers do not agree on; norm_topk_prob true"},
        Bad{"tiny_deepseek2_lite",
            {{"topk_method", "noaux_tc"}},
            {},
            kUnsupported,
            "topk_method can be greedy or group_limited_greedy: noaux_tc"},
        Bad{"tiny_glm4_moe_lite",
            {{"mlp_layer_types", {"dense"}}},
            {},
            kCorrupt,
            "mlp_layer_types must be a list of 3 words"},
        Bad{"tiny_mixtral", {{"num_experts", 7}}, {}, kCorrupt, "num_experts must be the same as num_local_experts: 7"},
        Bad{"tiny_qwen3moe",
            {{"norm_topk_prob", "yes"}},
            {},
            kCorrupt,
            "norm_topk_prob must be true or false: \"yes\""},
        Bad{"tiny_gqa_llama3rope",
            {{"rope_parameters", {{"rope_type", "default"}}}},
            {},
            kCorrupt,
            "rope_parameters.rope_type must be the same as rope_scaling's (llama3): \"default\""},
        Bad{"tiny_gqa_llama3rope",
            {{"rope_parameters", {{"rope_type", "llama3"}, {"factor", 4.0}}}},
            {},
            kCorrupt,
            "rope_parameters.factor must be the same as rope_scaling.factor (8.0): 4.0"},
        Bad{"tiny_qwen2",
            {{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}}},
            {},
            kUnsupported,
            "rotary scaling can be default, linear, llama3, longrope, yarn or proportional; rope_scaling.rope_type: "
            "dynamic"},
        Bad{"tiny_qwen2",
            {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}, {"beta_fast", 0.5}}}},
            {},
            kCorrupt,
            "rope_scaling.beta_fast makes no sense for rotary positions: 0.5"},
        Bad{"tiny_qwen2",
            {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 0}}}},
            {},
            kCorrupt,
            "rope_scaling.factor makes no sense for rotary positions: 0"},
        Bad{"tiny_qwen2",
            {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}, {"attention_factor", -1.0}}}},
            {},
            kCorrupt,
            "rope_scaling.attention_factor makes no sense for rotary positions: -1"},
        Bad{"tiny_qwen2",
            {{"model_type", nullptr}, {"architectures", nullptr}},
            {},
            kUnsupported,
            "neither model_type nor architectures name a network; known are llama, "},
        Bad{"tiny_gemma3",
            {{"model_type", "gemma3"}, {"architectures", nullptr}},
            {},
            kCorrupt,
            "text_config must be an object: null"},
        Bad{"tiny_gemma3",
            {{"model_type", "gemma3"}, {"architectures", nullptr}, {"text_config", {{"model_type", "gemma2"}}}},
            {},
            kUnsupported,
            "the text part of gemma3 can only be gemma3_text; text_config.model_type: gemma2"}));

INSTANTIATE_TEST_SUITE_P(
    Tensors, BadFamily,
    testing::Values(
        Bad{"tiny_mixtral",
            {{"num_local_experts", 4}},
            {},
            kCorrupt,
            "tensor 'model.layers.0.block_sparse_moe.experts.4.w1.weight' is part of no network that the configuration "
            "means: num_local_experts counts fewer experts: 4"},
        Bad{"tiny_mixtral",
            {{"num_local_experts", 8}},
            {},
            kCorrupt,
            "tensor 'model.layers.0.block_sparse_moe.gate.weight' is [5, 64], but config.json (num_local_experts: 8) "
            "asks for [8, 64]"},
        Bad{"tiny_mixtral",
            {{"intermediate_size", 64}},
            {},
            kCorrupt,
            "tensor 'model.layers.0.block_sparse_moe.experts.0.w1.weight' is [48, 64], but config.json "
            "(intermediate_size: 64) asks for [64, 64]"},
        Bad{"tiny_qwen3moe",
            {{"moe_intermediate_size", 48}},
            {},
            kCorrupt,
            "tensor 'model.layers.0.mlp.experts.0.gate_proj.weight' is [40, 64], but config.json "
            "(moe_intermediate_size: 48) asks for [48, 64]"},
        Bad{"tiny_qwen3moe",
            {{"num_experts", 7}},
            {},
            kCorrupt,
            "tensor 'model.layers.0.mlp.gate.weight' is [6, 64], but config.json (num_experts: 7) asks for [7, 64]"},
        Bad{"tiny_qwen3moe",
            {},
            with("model.layers.1.mlp.experts.6.up_proj.weight", "model.layers.1.mlp.experts.5.up_proj.weight"),
            kCorrupt,
            "tensor 'model.layers.1.mlp.experts.6.up_proj.weight' is part of no network that the configuration means: "
            "num_experts counts fewer experts: 6"},
        Bad{"tiny_qwen3moe",
            {},
            without("model.layers.1.mlp.experts.5.down_proj.weight"),
            kNotFound,
            "model.layers.1.mlp.experts.5.down_proj.weight"},
        Bad{"tiny_qwen3moe",
            {{"mlp_only_layers", {1}}},
            {},
            kCorrupt,
            "the configuration has no experts in this layer"},
        Bad{"tiny_qwen35",
            {{"layer_types", nullptr}, {"full_attention_interval", 8}},
            {},
            kCorrupt,
            "recurs (layer_types, full_attention_interval)"},
        Bad{"tiny_qwen3moe",
            {},
            with("model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight"),
            kCorrupt,
            "the configuration has experts in place of this layer's MLP"},
        Bad{"tiny_qwen3",
            {},
            with("model.layers.0.self_attn.q_proj.bias", "model.layers.0.input_layernorm.weight"),
            kCorrupt,
            "tensor 'model.layers.0.self_attn.q_proj.bias' is part of no network that the configuration means: "
            "attention_bias is not true"},
        Bad{"tiny_gqa_llama3rope",
            {},
            with("model.layers.1.mlp.down_proj.bias", "model.norm.weight"),
            kCorrupt,
            "mlp_bias is not true"},
        Bad{"tiny_qwen3",
            {},
            without("model.layers.1.self_attn.k_norm.weight"),
            kNotFound,
            "model.layers.1.self_attn.k_norm.weight"},
        Bad{"tiny_gemma2",
            {},
            without("model.layers.2.post_feedforward_layernorm.weight"),
            kNotFound,
            "model.layers.2.post_feedforward_layernorm.weight"},
        Bad{"tiny_gemma2", {{"num_hidden_layers", 2}}, {}, kCorrupt, "num_hidden_layers counts fewer layers: 2"},
        Bad{"tiny_gemma2",
            {},
            with("model.layers.0.self_attn.q_norm.weight", "model.norm.weight"),
            kCorrupt,
            "networks of the family gemma2 have no such part"},
        Bad{"tiny_phi3",
            {},
            with("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.o_proj.weight"),
            kCorrupt,
            "networks of the family phi3 have no such part"},
        Bad{"tiny_phi3",
            {},
            without("model.layers.0.mlp.gate_up_proj.weight"),
            kNotFound,
            "model.layers.0.mlp.gate_up_proj.weight"}));

// What follows from the configuration may lie beside the weights, and what is no part of a layer.
TEST(SoundFamily, MayHaveDerivedTensorsAndOthersOfTheWholeModel) {
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / "tiny_qwen3");
  model.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = model.tensors["model.norm.weight"];
  model.tensors["score.weight"] = model.tensors["model.norm.weight"];
  model.write(scratch.path());
  EXPECT_NO_THROW(SourceModel::open(scratch.path()).parts());
}

}  // namespace
}  // namespace nibble
