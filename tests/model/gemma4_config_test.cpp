// SPDX-License-Identifier: Apache-2.0
//
// What Gemma 4's configurations say: heads by kind of layer, layers that share, positions that turn a part of a head.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/chosen_isa.h"
#include "model/config.h"
#include "tiny_models.h"

namespace nibble {
namespace {

class Gemma4Config : public testing::Test {
 protected:
  ModelConfig read() {
    model.write(scratch.path());
    return read_model_config(SourceModel::open(scratch.path()));
  }
  std::string message(ErrorKind expected) {
    const auto [kind, text] = error_of([&] { read(); });
    EXPECT_EQ(kind, expected) << text;
    return text.substr(std::min(text.size(), (scratch / "config.json").string().size() + 2));
  }

  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / "tiny_gemma4");
};

TEST_F(Gemma4Config, IsReadByKindOfLayer) {
  const ModelConfig c = read();
  EXPECT_EQ(c.head_dim_of(0), 16u);
  EXPECT_EQ(c.head_dim_of(1), 32u);
  EXPECT_EQ(c.kv_heads_of(1), 2u);
  EXPECT_EQ(c.intermediate_of(3), 80u);
  EXPECT_EQ(c.intermediate_of(4), 160u);
  EXPECT_EQ(c.per_layer_width, 16u);
  EXPECT_EQ(c.logit_soft_cap, 6);
  EXPECT_EQ(c.query_pre_attn_scalar, 1);
  // Of 16 pairs of a head the first four turn, by frequencies of all of it.
  const std::vector<double> frequencies = rope_inverse_frequencies(c.rope_of(1));
  ASSERT_EQ(frequencies.size(), 16u);
  EXPECT_DOUBLE_EQ(frequencies[3], std::pow(10000.0, -6.0 / 32));
  EXPECT_LT(frequencies[4], 1e-29);
  EXPECT_DOUBLE_EQ(rope_inverse_frequencies(c.rope_of(0))[1], std::pow(500.0, -2.0 / 16));
}

// As transformers 5.24 saves it: heads that differ are said for each layer.
TEST_F(Gemma4Config, HeadsMayBeSaidLayerByLayer) {
  model.config.erase("global_head_dim");
  for (const char* const layer : {"1", "3", "5"})
    model.config["per_layer_config"][layer] = {{"head_dim", 48}, {"num_key_value_heads", 1}};
  const ModelConfig c = read();
  EXPECT_EQ(c.full_head_dim, 48u);
  EXPECT_EQ(c.full_kv_heads, 1u);
  EXPECT_EQ(c.head_dim, 16u);
  model.config = nlohmann::json::parse(to_huggingface_config(c, {}));
  EXPECT_EQ(model.config["per_layer_config"]["3"]["num_key_value_heads"], 1);
  EXPECT_TRUE(is_same_network(read(), c));
  model.config["per_layer_config"]["3"]["head_dim"] = 32;
  EXPECT_EQ(message(ErrorKind::unsupported),
            "layers of one kind whose heads differ cannot be run; per_layer_config of layer 3");
}

TEST_F(Gemma4Config, MissingKeysTakeTheClassDefaults) {
  for (const char* const key : {"global_head_dim", "rope_parameters", "layer_types", "final_logit_softcapping",
                                "hidden_size_per_layer_input", "num_kv_shared_layers", "use_double_wide_mlp"})
    model.config.erase(key);
  model.config["vocab_size_per_layer_input"] = 200;
  ModelConfig c = read();
  EXPECT_EQ(c.full_head_dim, 512u);
  EXPECT_EQ(c.rope.base, 1e6);
  EXPECT_EQ(c.rope.rotary_dim, 512u);
  EXPECT_LT(rope_inverse_frequencies(c.rope)[64], 1e-29);
  EXPECT_GT(rope_inverse_frequencies(c.rope)[63], 1e-6);
  EXPECT_EQ(c.sliding_rope->base, 1e4);
  EXPECT_EQ(c.slides, (std::vector<bool>{true, true, true, true, true, false}));
  EXPECT_EQ(c.per_layer_width, 256u);
  EXPECT_EQ(c.logit_soft_cap, 0);
  EXPECT_EQ(c.sharing_layers, 0u);
  model.config["num_hidden_layers"] = 5;  // the last one attends to all positions whatever the pattern says
  EXPECT_EQ(read().slides, (std::vector<bool>{true, true, true, true, false}));
}

TEST_F(Gemma4Config, RefusesWhatItCannotRun) {
  const nlohmann::json original = model.config;
  const auto with = [&](const char* key, const nlohmann::json& value, ErrorKind kind) {
    model.config = original;
    model.config[key] = value;
    return message(kind);
  };
  EXPECT_EQ(with("use_bidirectional_attention", "all", ErrorKind::unsupported),
            "tokens that attend to later ones cannot be run; use_bidirectional_attention: all");
  EXPECT_EQ(with("hidden_activation", "silu", ErrorKind::unsupported),
            "hidden_activation must be gelu_pytorch_tanh: silu");
  EXPECT_EQ(with("vocab_size_per_layer_input", 100, ErrorKind::unsupported),
            "layers' own inputs of another vocabulary cannot be run; vocab_size_per_layer_input: 100, not 200");
  EXPECT_EQ(with("num_kv_shared_layers", 5, ErrorKind::corrupt),
            "num_kv_shared_layers leaves no layer of its own kind that layer 1 could share keys and values with: 5");
  EXPECT_EQ(with("num_kv_shared_layers", 6, ErrorKind::corrupt),
            "num_kv_shared_layers leaves no layer of its own kind that layer 0 could share keys and values with: 6");
  EXPECT_EQ(with("global_head_dim", 31, ErrorKind::corrupt), "global_head_dim must be even for rotary positions: 31");
  EXPECT_EQ(with("enable_moe_block", true, ErrorKind::corrupt), "key is missing: num_experts");
  model.config = original;
  model.config["rope_parameters"]["full_attention"]["partial_rotary_factor"] = 1.5;
  EXPECT_EQ(message(ErrorKind::corrupt),
            "rope_parameters.full_attention.partial_rotary_factor must be between 0 and 1: 1.5");
}

// Files keep what would make keys and values in layers that share those of others; nothing else may be left over.
TEST_F(Gemma4Config, WhatLayersThatShareDoNotReadIsLeftOut) {
  Machine machine(chosen_isa(), 2);
  const std::vector<std::int32_t> ids = ReferenceLogits::read("tiny_gemma4").ids;
  Decoder plain(SourceModel::open(data_directory() / "tiny_gemma4"), exact_options(), machine);
  for (const char* const part : {"k_proj", "v_proj", "k_norm"})
    model.tensors["model.layers.4.self_attn." + std::string(part) + ".weight"] =
        model.tensors.at("model.layers.2.self_attn." + std::string(part) + ".weight");
  model.write(scratch / "more");
  Decoder more(SourceModel::open(scratch / "more"), exact_options(), machine);
  EXPECT_EQ(all_logits(more, ids), all_logits(plain, ids));
  model.tensors["model.layers.4.self_attn.v_norm.weight"] = model.tensors.at("model.layers.2.self_attn.k_norm.weight");
  model.write(scratch / "stranger");
  const auto [kind, text] = error_of([&] { SourceModel::open(scratch / "stranger").parts(); });
  EXPECT_EQ(kind, ErrorKind::corrupt);
  EXPECT_NE(text.find("is part of no network that the configuration means"), std::string::npos) << text;
}

// Released models read pictures and sound, too; their text part is the model of text alone.
TEST_F(Gemma4Config, TheTextPartIsTheModelOfTextAlone) {
  Machine machine(chosen_isa(), 2);
  for (const std::string name : {"tiny_gemma4", "tiny_gemma4_unified"}) {
    model = EditableModel::read(data_directory() / name);
    const bool is_unified = name != "tiny_gemma4";
    nlohmann::json text = model.config;
    text.erase("architectures");
    model.config = {
        {"architectures", {is_unified ? "Gemma4UnifiedForConditionalGeneration" : "Gemma4ForConditionalGeneration"}},
        {"model_type", is_unified ? "gemma4_unified" : "gemma4"},
        {"text_config", text},
        {"vision_config", {{"model_type", "gemma4_vision"}}}};
    const EditableModel::Stored some = model.tensors.at("model.norm.weight");
    std::map<std::string, EditableModel::Stored> tensors;
    for (auto& [tensor, stored] : model.tensors)
      tensors["model.language_model." + tensor.substr(6)] = std::move(stored);
    tensors["model.vision_tower.encoder.layers.0.input_layernorm.weight"] = some;
    model.tensors = std::move(tensors);
    model.write(scratch / name);
    Decoder decoder(SourceModel::open(scratch / name), exact_options(), machine),
        plain(SourceModel::open(data_directory() / name), exact_options(), machine);
    const std::vector<std::int32_t> ids = ReferenceLogits::read(name).ids;
    EXPECT_EQ(all_logits(decoder, ids), all_logits(plain, ids)) << name;
  }
}

TEST(ProportionalDivisors, AreRecognised) {
  double factor = 0;
  EXPECT_EQ(turning_pairs(proportional_divisors(32, 4, 8), factor), 4u);
  EXPECT_EQ(factor, 8);
  EXPECT_EQ(turning_pairs(proportional_divisors(32, 0), factor), 0u);
  EXPECT_EQ(turning_pairs(proportional_divisors(32, 16), factor), 16u);
  EXPECT_EQ(turning_pairs({1, 2, 1e30F}, factor), std::nullopt);
  EXPECT_EQ(turning_pairs({1, 1e30F, 1}, factor), std::nullopt);
}

}  // namespace
}  // namespace nibble
