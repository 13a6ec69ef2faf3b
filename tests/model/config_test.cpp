// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <gtest/gtest.h>

#include "tiny_models.h"

namespace nibble {
namespace {

class Config : public testing::Test {
 protected:
  Config() : model(EditableModel::read(data_directory() / "tiny_gqa_llama3rope")) {}

  ModelConfig read() {
    model.write(scratch.path());
    return read_model_config(SourceModel::open(scratch.path()));
  }
  // The message without the file it begins with.
  std::string message(ErrorKind expected) {
    const auto [kind, text] = error_of([&] { read(); });
    EXPECT_EQ(kind, expected) << text;
    const std::string file = (scratch / "config.json").string() + ": ";
    EXPECT_TRUE(text.starts_with(file)) << text;
    return text.substr(std::min(file.size(), text.size()));
  }

  ScratchDirectory scratch;
  EditableModel model;
};

TEST_F(Config, ReadsEveryValue) {
  const ModelConfig c = read();
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.vocab_size, 256u);
  EXPECT_EQ(c.hidden, 64u);
  EXPECT_EQ(c.intermediate, 96u);
  EXPECT_EQ(c.layers, 2u);
  EXPECT_EQ(c.heads, 4u);
  EXPECT_EQ(c.kv_heads, 2u);
  EXPECT_EQ(c.head_dim, 16u);
  EXPECT_EQ(c.context, 256u);
  EXPECT_FLOAT_EQ(c.norm_epsilon, 1e-5f);
  EXPECT_FALSE(c.tied_embedding);
  EXPECT_FALSE(c.attention_bias);
  EXPECT_TRUE(c.rope.half_split);
  EXPECT_EQ(c.rope.scaling, RopeScaling::llama3);
  EXPECT_EQ(c.rope.factor, 8);
  EXPECT_EQ(c.rope.original_context, 32u);
  EXPECT_EQ(c.sliding_window, 0u);
}

TEST_F(Config, MissingKeysTakeTheClassDefaults) {
  for (const char* key : {"num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
                          "rope_theta", "rope_scaling", "head_dim", "hidden_act", "attention_bias", "mlp_bias"})
    model.config.erase(key);
  const ModelConfig c = read();
  EXPECT_EQ(c.kv_heads, 4u);
  EXPECT_EQ(c.context, 2048u);
  EXPECT_FLOAT_EQ(c.norm_epsilon, 1e-6f);
  EXPECT_EQ(c.rope.base, 10000);
  EXPECT_EQ(c.rope.scaling, RopeScaling::none);
  EXPECT_EQ(c.head_dim, 16u);
}

TEST_F(Config, NewerRopeParameters) {
  model.config.erase("rope_theta");
  model.config.erase("rope_scaling");
  model.config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 250000.0}};
  const ModelConfig c = read();
  EXPECT_EQ(c.rope.base, 250000);
  EXPECT_EQ(c.rope.scaling, RopeScaling::linear);
  EXPECT_EQ(c.rope.factor, 2);
}

TEST_F(Config, OlderNameOfTheScalingType) {
  model.config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  EXPECT_EQ(read().rope.scaling, RopeScaling::linear);
}

TEST_F(Config, MistralWithoutTheKeyHasAWindow) {
  model.config["model_type"] = "mistral";
  model.config["architectures"] = {"MistralForCausalLM"};
  model.config["max_position_embeddings"] = 32768;
  ModelConfig c = read();
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.sliding_window, 4096u);
  EXPECT_EQ(c.window_of(0), 4096u);
  EXPECT_EQ(c.context, 32768u);
  model.config["sliding_window"] = nullptr;
  c = read();
  EXPECT_EQ(c.sliding_window, 0u);
  EXPECT_EQ(c.window_of(0), 0u);
  model.config["layer_types"] = {"sliding_attention", "full_attention"};  // which this class does not read
  model.config["sliding_window"] = 64;
  EXPECT_EQ(read().slides, (std::vector<bool>{true, true}));
  model.config["sliding_window"] = std::uint64_t{1} << 40;
  EXPECT_EQ(message(ErrorKind::corrupt), "sliding_window must lie between 1 and 1073741824: 1099511627776");
  model.config["sliding_window"] = 0;
  EXPECT_EQ(message(ErrorKind::corrupt), "sliding_window must be at least 1, or null for none: 0");
}

TEST_F(Config, QwenAlwaysHasBiasesAndItsWindowNeedsTheSwitch) {
  model.config["model_type"] = "qwen2";
  model.config["architectures"] = {"Qwen2ForCausalLM"};
  model.config["sliding_window"] = 64;
  ModelConfig c = read();
  EXPECT_TRUE(c.attention_bias);
  EXPECT_FALSE(c.output_bias);
  EXPECT_EQ(c.sliding_window, 0u);
  model.config["use_sliding_window"] = true;
  EXPECT_EQ(read().sliding_window, 0u);  // no layer behind max_window_layers
  model.config["max_window_layers"] = 1;
  c = read();
  EXPECT_EQ(c.sliding_window, 64u);
  EXPECT_EQ(c.slides, (std::vector<bool>{false, true}));
  model.config["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_EQ(read().slides, (std::vector<bool>{true, false}));
  model.config["layer_types"] = {"sliding_attention", "chunked_attention"};
  EXPECT_EQ(message(ErrorKind::unsupported),
            "layers can be of full_attention or sliding_attention; layer_types: \"chunked_attention\"");
  model.config["layer_types"] = {"sliding_attention"};
  EXPECT_EQ(message(ErrorKind::corrupt), "layer_types must be a list of 2 names, as num_hidden_layers says: 1");
}

class ExpertConfig : public Config {
 protected:
  ExpertConfig() { model = EditableModel::read(data_directory() / "tiny_qwen3moe"); }
};

TEST_F(ExpertConfig, LayersHaveExpertsUnlessTheyAreLeftOut) {
  ModelConfig c = read();
  EXPECT_EQ(c.num_experts, 6u);
  EXPECT_EQ(c.experts_used, 2u);
  EXPECT_EQ(c.expert_intermediate, 40u);
  EXPECT_TRUE(c.normalizes_routing && c.has_experts(0) && c.has_experts(1));
  model.config["mlp_only_layers"] = {1};
  c = read();
  EXPECT_TRUE(c.has_experts(0) && !c.has_experts(1));
  EXPECT_EQ(draw_network(c).layer(1).sites.size(), 4u);
  EXPECT_EQ(nlohmann::json::parse(to_huggingface_config(c, {}))["mlp_only_layers"], nlohmann::json({1}));
  EXPECT_EQ(error_of([&] { to_gguf_metadata(c, {}); }).first, ErrorKind::unsupported);
  model.config["mlp_only_layers"] = nlohmann::json::array();
  model.config["decoder_sparse_step"] = 2;
  c = read();
  EXPECT_TRUE(!c.has_experts(0) && c.has_experts(1));
  model.config["decoder_sparse_step"] = 1;
  model.config.erase("norm_topk_prob");
  EXPECT_FALSE(read().normalizes_routing);  // as the class has it
  EXPECT_EQ(error_of([&] { to_gguf_metadata(read(), {}); }).first, ErrorKind::unsupported);
}

TEST_F(ExpertConfig, RefusesCountsThatCannotBe) {
  const auto error = [&](const char* key, const nlohmann::json& value) {
    const nlohmann::json kept = model.config[key];
    model.config[key] = value;
    const std::string text = message(ErrorKind::corrupt);
    model.config[key] = kept;
    return text;
  };
  EXPECT_EQ(error("num_experts_per_tok", 7), "num_experts_per_tok must lie between 1 and 6: 7");
  EXPECT_EQ(error("num_experts_per_tok", 0), "num_experts_per_tok must lie between 1 and 6: 0");
  EXPECT_EQ(error("num_experts", 100000), "num_experts must lie between 1 and 4096: 100000");
  model.config["num_hidden_layers"] = 4000;
  EXPECT_EQ(error("num_experts", 4000), "num_experts in 4000 layers are more experts than any model has: 4000");
  model.config["num_hidden_layers"] = 2;
  EXPECT_EQ(error("moe_intermediate_size", 0), "moe_intermediate_size must lie between 1 and 4194304: 0");
  EXPECT_EQ(error("decoder_sparse_step", 0), "decoder_sparse_step must be at least 1: 0");
  EXPECT_EQ(error("mlp_only_layers", {2}), "mlp_only_layers must be a list of the model's layers: [2]");
}

class RecurrentConfig : public Config {
 protected:
  RecurrentConfig() { model = EditableModel::read(data_directory() / "tiny_qwen35"); }
};

TEST_F(RecurrentConfig, SaysWhichLayersRecurAndWithWhatHeads) {
  ModelConfig c = read();
  EXPECT_EQ(c.recurs, (std::vector<bool>{true, true, false, true}));
  EXPECT_EQ(c.delta_heads, 6u);
  EXPECT_EQ(c.delta_key_heads, 2u);
  EXPECT_EQ(c.delta_keys(), 32u);
  EXPECT_EQ(c.delta_values(), 96u);
  EXPECT_FALSE(c.tiles_delta_heads);
  EXPECT_EQ(c.rope.rotary_dim, 8u);
  EXPECT_EQ(c.rope.base, 100000);
  EXPECT_EQ(c.rope_sections, (std::vector<std::uint64_t>{2, 1, 1}));
  for (const char* const key : {"layer_types", "linear_num_value_heads", "linear_num_key_heads", "linear_key_head_dim",
                                "linear_value_head_dim", "linear_conv_kernel_dim", "rope_parameters"})
    model.config.erase(key);
  c = read();
  EXPECT_EQ(c.recurs, (std::vector<bool>{true, true, true, false}));
  EXPECT_EQ(c.delta_heads, 32u);
  EXPECT_EQ(c.delta_keys(), 2048u);
  EXPECT_EQ(c.delta_values(), 4096u);
  EXPECT_EQ(c.convolution_taps, 4u);
  EXPECT_EQ(c.rope.rotary_dim, 8u);
  model.config["full_attention_interval"] = 2;
  EXPECT_EQ(read().recurs, (std::vector<bool>{true, false, true, false}));
}

// GGUF files of regular networks say the interval, too; sections that leave pairs out would leave them unturned there.
TEST_F(RecurrentConfig, GoesIntoGgufKeys) {
  ModelConfig c = read();
  GgufMetadata keys = to_gguf_metadata(c, {});
  EXPECT_EQ(keys.unsigned_integer("qwen35.full_attention_interval"), 3u);
  EXPECT_EQ(keys.unsigned_integer("qwen35.ssm.inner_size"), 96u);
  EXPECT_EQ(keys.numbers("qwen35.rope.dimension_sections"), (std::vector<double>{2, 1, 1, 0}));
  EXPECT_EQ(keys.find("qwen35.rope.dimension_sections")->value, GgufValue::of_i32s({2, 1, 1, 0}).value);
  c.recurs = {true, false, false, true};
  c.rope_sections = {1, 1, 1};
  keys = to_gguf_metadata(c, {});
  EXPECT_EQ(keys.find("qwen35.full_attention_interval"), nullptr);
  EXPECT_NE(keys.find("qwen35.attention.recurrent_layers"), nullptr);
  EXPECT_EQ(keys.numbers("qwen35.rope.dimension_sections"), (std::vector<double>{2, 1, 1, 0}));
  c.delta_value_dim = 8;
  EXPECT_EQ(error_of([&] { to_gguf_metadata(c, {}); }).first, ErrorKind::unsupported);
}

TEST_F(RecurrentConfig, RefusesHeadsThatCannotBe) {
  const auto error = [&](const char* key, const nlohmann::json& value, ErrorKind kind = ErrorKind::corrupt) {
    const nlohmann::json kept = model.config[key];
    model.config[key] = value;
    const std::string text = message(kind);
    model.config[key] = kept;
    return text;
  };
  EXPECT_EQ(error("linear_num_value_heads", 5),
            "value heads of recurrent layers must be a multiple of their key heads, between 1 and 1024: 5, 2");
  EXPECT_EQ(error("linear_num_key_heads", 0),
            "value heads of recurrent layers must be a multiple of their key heads, between 1 and 1024: 6, 0");
  EXPECT_EQ(error("linear_key_head_dim", 4096), "heads of recurrent layers must have 1 to 1024 channels: 4096, 16");
  EXPECT_EQ(error("linear_conv_kernel_dim", 33), "convolutions must have 1 to 32 taps: 33");
  EXPECT_EQ(error("layer_types", {"linear_attention"}),
            "layer_types must be a list of 4 names, as num_hidden_layers says: 1");
  EXPECT_EQ(error("attention_bias", true, ErrorKind::unsupported),
            "biases of attention cannot be run in this family; attention_bias");
}

class PhiConfig : public Config {
 protected:
  PhiConfig() { model = EditableModel::read(data_directory() / "tiny_phi3"); }
};

TEST_F(PhiConfig, ReadsLongRopeAndItsOlderName) {
  for (const char* const type : {"longrope", "su", "yarn"}) {
    model.config["rope_scaling"]["type"] = type;
    const ModelConfig c = read();
    EXPECT_EQ(c.rope.scaling, RopeScaling::longrope);
    EXPECT_EQ(c.rope.rotary_dim, 12u);
    EXPECT_EQ(c.rope.original_context, 40u);
    EXPECT_EQ(c.rope.short_factors.size(), 6u);
    EXPECT_EQ(c.window_of(1), 15u);
  }
  model.config["rope_scaling"]["attention_factor"] = 1.5;
  EXPECT_EQ(read().rope.magnitude, 1.5f);
  EXPECT_EQ(error_of([&] { to_huggingface_config(read(), {}); }).first, ErrorKind::unsupported);
  model.config.erase("sliding_window");
  EXPECT_EQ(read().sliding_window, 0u);
}

TEST_F(PhiConfig, RefusesFactorsThatDoNotFit) {
  model.config["rope_scaling"]["short_factor"] = {1.0, 2.0};
  EXPECT_EQ(message(ErrorKind::corrupt), "rope_scaling.short_factor must be a list of 6 numbers: [1.0,2.0]");
  model.config["rope_scaling"]["short_factor"] = {1.0, 1.0, 1.0, 1.0, 1.0, 0.0};
  EXPECT_EQ(message(ErrorKind::corrupt), "a factor of longrope makes no sense for rotary positions: 0");
  model.config["partial_rotary_factor"] = 0.8;  // 12.8 channels: as transformers counts
  model.config["rope_scaling"]["short_factor"] = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0};
  EXPECT_EQ(read().rope.rotary_dim, 12u);
  model.config["partial_rotary_factor"] = 1.5;
  EXPECT_EQ(message(ErrorKind::corrupt),
            "partial_rotary_factor must be a part of a head with an even number of channels: 1.5");
}

TEST_F(Config, OnlySomeFamiliesTurnPartOfAHead) {
  model.config["partial_rotary_factor"] = 0.5;
  EXPECT_EQ(message(ErrorKind::unsupported), "partial_rotary_factor other than 1 cannot be run");
}

class GemmaConfig : public Config {
 protected:
  GemmaConfig() {
    model.config["model_type"] = "gemma2";
    model.config["architectures"] = {"Gemma2ForCausalLM"};
    for (const char* key : {"hidden_act", "rope_scaling", "tie_word_embeddings"}) model.config.erase(key);
  }
};

TEST_F(GemmaConfig, KeysThatAreAbsentMeanWhatTheClassMeans) {
  const ModelConfig c = read();
  EXPECT_EQ(c.sliding_window, 4096u);
  EXPECT_EQ(c.slides, (std::vector<bool>{true, false}));
  EXPECT_EQ(c.attention_soft_cap, 50);
  EXPECT_EQ(c.logit_soft_cap, 30);
  EXPECT_EQ(c.query_pre_attn_scalar, 256);
  EXPECT_TRUE(c.tied_embedding);
  model.config["model_type"] = "gemma3_text";
  model.config["architectures"] = {"Gemma3ForCausalLM"};
  model.config.erase("rope_theta");
  const ModelConfig three = read();
  EXPECT_EQ(three.slides, (std::vector<bool>{true, true}));
  EXPECT_EQ(three.attention_soft_cap, 0);
  EXPECT_EQ(three.rope.base, 1e6);
  EXPECT_EQ(three.rope_of(0).base, 1e4);
}

TEST_F(GemmaConfig, ScoresAreDividedByTheRootOfItsOwnKey) {
  model.config["query_pre_attn_scalar"] = 144;
  const ModelConfig c = read();
  const Network network = draw_network(c);
  const auto attention = std::ranges::find_if(
      network.layer(0).graph.nodes, [](const Node& n) { return std::holds_alternative<Attention>(n.operation); });
  EXPECT_EQ(std::get<Attention>(attention->operation).scale, 1.0f / 12);
  EXPECT_EQ(error_of([&] { to_gguf_metadata(c, {}); }).first, ErrorKind::unsupported);
}

// llama.cpp knows the large ones by their layers.
TEST_F(GemmaConfig, LargeModelsInGgufFilesAreKnownByTheirLayers) {
  ModelConfig c = read();
  c.layers = 46;
  c.slides = usual_sliding_layers(46, 2);
  c.query_pre_attn_scalar = static_cast<double>(c.hidden / c.heads);
  EXPECT_EQ(to_gguf_metadata(c, {}).number("gemma2.attn_logit_softcapping"), 50.0);
  c.query_pre_attn_scalar = static_cast<double>(c.head_dim) + 1;
  EXPECT_EQ(error_of([&] { to_gguf_metadata(c, {}); }).first, ErrorKind::unsupported);
}

TEST_F(GemmaConfig, RotaryKeysByKindOfLayer) {
  model.config["model_type"] = "gemma3_text";
  model.config["architectures"] = {"Gemma3ForCausalLM"};
  model.config["layer_types"] = {"sliding_attention", "full_attention"};
  model.config["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 5e5}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}};
  const ModelConfig c = read();
  EXPECT_EQ(c.rope_of(0).base, 2e4);
  EXPECT_EQ(c.rope_of(0).scaling, RopeScaling::none);
  EXPECT_EQ(c.rope_of(1).base, 5e5);
  EXPECT_EQ(c.rope_of(1).factor, 8);
}

TEST_F(GemmaConfig, RefusesWhatCannotBe) {
  for (const double cap : {1e300, 1e-50, -3.0}) {
    model.config["attn_logit_softcapping"] = cap;
    EXPECT_TRUE(message(ErrorKind::corrupt).starts_with("attn_logit_softcapping must be positive, or null for none: "));
  }
  model.config["sliding_window"] = nullptr;
  model.config.erase("attn_logit_softcapping");
  EXPECT_EQ(message(ErrorKind::corrupt), "sliding_window must be at least 1 where layers slide: null");
  model.config["layer_types"] = {"full_attention", "full_attention"};
  EXPECT_EQ(read().sliding_window, 0u);
  EXPECT_EQ(nlohmann::json::parse(to_huggingface_config(read(), {}))["layer_types"], model.config["layer_types"]);
  model.config.erase("layer_types");
  model.config.erase("sliding_window");
  model.config["attn_logit_softcapping"] = 0;
  EXPECT_EQ(message(ErrorKind::corrupt), "attn_logit_softcapping must be positive, or null for none: 0");
  model.config["attn_logit_softcapping"] = nullptr;
  EXPECT_EQ(read().attention_soft_cap, 0);
  model.config["query_pre_attn_scalar"] = 0;
  EXPECT_EQ(message(ErrorKind::corrupt), "query_pre_attn_scalar must be positive: 0");
  model.config.erase("query_pre_attn_scalar");
  model.config["sliding_window_pattern"] = 0;
  EXPECT_EQ(message(ErrorKind::corrupt), "sliding_window_pattern must be at least 1: 0");
  model.config.erase("sliding_window_pattern");
  model.config["hidden_activation"] = "gelu";
  EXPECT_EQ(message(ErrorKind::unsupported), "hidden_activation must be gelu_pytorch_tanh: gelu");
}

TEST_F(Config, ForeignModels) {
  model.config["model_type"] = "gpt_bigcode";
  EXPECT_EQ(message(ErrorKind::unsupported).substr(0, 64),
            "unknown model_type 'gpt_bigcode'; known are llama, mistral, mist");
  model.config["model_type"] = "llama";
  model.config["architectures"] = {"LlamaForSequenceClassification"};
  EXPECT_EQ(message(ErrorKind::unsupported),
            "of model_type llama only LlamaForCausalLM can be run, not LlamaForSequenceClassification");
}

TEST_F(Config, NotJson) {
  model.write(scratch.path());
  scratch.write("config.json", "{\"vocab_size\": 12,");
  const auto [kind, text] = error_of([&] { read_model_config(SourceModel::open(scratch.path())); });
  EXPECT_EQ(kind, ErrorKind::corrupt);
  EXPECT_NE(text.find("config.json"), std::string::npos);
}

// Under keys that nobody reads anything goes; under one that is read, the value is shown as the file has it.
TEST_F(Config, NumbersBeyond64Bits) {
  const auto with = [&](const std::string& more) {
    model.write(scratch.path());
    std::string text = "\xEF\xBB\xBF" + model.config.dump();
    text.replace(text.size() - 1, 1, "," + more + "}");
    scratch.write("config.json", text);
    return read_model_config(SourceModel::open(scratch.path()));
  };
  EXPECT_EQ(with(R"("a":NaN,"b":[Infinity,-Infinity,1e999],"c":{"d":123456789012345678901234567890})").hidden, 64u);
  model.config.erase("rms_norm_eps");
  const auto [kind, text] = error_of([&] { with(R"("rms_norm_eps":NaN)"); });
  EXPECT_EQ(kind, ErrorKind::corrupt);
  EXPECT_EQ(text, (scratch / "config.json").string() + ": rms_norm_eps must be a number: NaN");
}

struct Wrong {
  const char* key;
  nlohmann::json value;
  const char* message;
};

class AbsurdConfig : public Config, public testing::WithParamInterface<Wrong> {};

TEST_P(AbsurdConfig, IsRefusedByName) {
  model.config[GetParam().key] = GetParam().value;
  EXPECT_EQ(message(ErrorKind::corrupt), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Keys, AbsurdConfig,
    testing::Values(
        Wrong{"hidden_size", 0, "hidden_size must lie between 1 and 1048576: 0"},
        Wrong{"hidden_size", "64", "hidden_size must be a whole number from 0 to 2^64 - 1: \"64\""},
        Wrong{"hidden_size", -64, "hidden_size must be a whole number from 0 to 2^64 - 1: -64"},
        Wrong{"hidden_size", 1e30, "hidden_size must be a whole number from 0 to 2^64 - 1: 1e+30"},
        Wrong{"hidden_size", nullptr, "key is missing: hidden_size"},
        Wrong{"intermediate_size", 1u << 30, "intermediate_size must lie between 1 and 4194304: 1073741824"},
        Wrong{"num_hidden_layers", 5000, "num_hidden_layers must lie between 1 and 4096: 5000"},
        Wrong{"num_attention_heads", 0, "num_attention_heads must lie between 1 and 16384: 0"},
        Wrong{"num_key_value_heads", 3, "num_attention_heads must be a multiple of num_key_value_heads: 4, 3"},
        Wrong{"num_key_value_heads", 0, "num_key_value_heads must lie between 1 and 16384: 0"},
        Wrong{"head_dim", 15, "head_dim must be even for rotary positions: 15"},
        Wrong{"vocab_size", std::uint64_t{1} << 40, "vocab_size must lie between 1 and 67108864: 1099511627776"},
        Wrong{"max_position_embeddings", 0, "max_position_embeddings must lie between 1 and 1073741824: 0"},
        Wrong{"rms_norm_eps", 0, "rms_norm_eps must be a small positive number: 0"},
        Wrong{"rms_norm_eps", 1e-60, "rms_norm_eps must be a small positive number: 0"},
        Wrong{"rms_norm_eps", 1, "rms_norm_eps must be a small positive number: 1"},
        Wrong{"rms_norm_eps", -1.0, "rms_norm_eps must be a small positive number: -1"},
        Wrong{"rope_theta", 0.0, "rope_theta makes no sense for rotary positions: 0"},
        Wrong{"tie_word_embeddings", "yes", "tie_word_embeddings must be true or false: \"yes\""},
        Wrong{"architectures", "LlamaForCausalLM", "architectures must be a list of names: \"LlamaForCausalLM\""},
        Wrong{"rope_scaling", nlohmann::json{{"rope_type", "llama3"}}, "rope_scaling.factor must be a number: null"},
        Wrong{"rope_scaling", nlohmann::json({{"rope_type", "linear"}, {"factor", 0}}),
              "rope_scaling.factor makes no sense for rotary positions: 0"}));

TEST_F(Config, HeadsThatDoNotDivide) {
  model.config.erase("head_dim");
  model.config["num_attention_heads"] = 6;
  EXPECT_EQ(message(ErrorKind::corrupt),
            "hidden_size must be a multiple of num_attention_heads when head_dim is absent: 64, 6");
}

TEST_F(Config, ScalingThatCannotBeRun) {
  model.config["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", 2.0}};
  EXPECT_EQ(
      message(ErrorKind::unsupported),
      "rotary scaling can be default, linear, llama3, longrope, yarn or proportional; rope_scaling.rope_type: dynamic");
  model.config["rope_scaling"] = {{"rope_type", "longrope"}, {"factor", 2.0}};
  EXPECT_EQ(message(ErrorKind::corrupt), "rope_scaling.short_factor must be a list of 8 numbers: null");
}

TEST_F(Config, Yarn) {
  model.config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}};
  ModelConfig c = read();
  EXPECT_EQ(c.rope.scaling, RopeScaling::yarn);
  EXPECT_EQ(c.rope.factor, 4);
  EXPECT_EQ(c.rope.original_context, 256u);  // the context, where nothing says it
  EXPECT_FLOAT_EQ(c.rope.magnitude, 1.1386294F);
  EXPECT_EQ(to_gguf_metadata(c, {}).string("llama.rope.scaling.type"), "yarn");
  EXPECT_EQ(to_gguf_metadata(c, {}).find("llama.rope.scaling.attn_factor"), nullptr);
  model.config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 64},
                                  {"beta_fast", 24.0},   {"mscale", 0.7}, {"mscale_all_dim", 1.3},
                                  {"truncate", false}};
  c = read();
  EXPECT_EQ(c.rope.original_context, 64u);
  EXPECT_EQ(c.rope.high_frequency_factor, 24);
  EXPECT_EQ(c.rope.low_frequency_factor, 1);
  EXPECT_FALSE(c.rope.whole_borders);
  EXPECT_FLOAT_EQ(c.rope.magnitude, 0.90178399F);
  // llama.cpp would run it with other borders.
  const auto [kind, text] = error_of([&] { to_gguf_metadata(c, {}); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_TRUE(text.ends_with("write a directory instead: 24, 1, false")) << text;
  model.config["rope_scaling"] = nlohmann::json::parse(to_huggingface_config(c, {}))["rope_scaling"];
  EXPECT_EQ(model.config["rope_scaling"]["truncate"], false);
  const ModelConfig again = read();
  EXPECT_EQ(rope_inverse_frequencies(again.rope), rope_inverse_frequencies(c.rope));
  EXPECT_EQ(again.rope.magnitude, c.rope.magnitude);
}

TEST_F(Config, OtherActivationsCannotBeRun) {
  model.config["hidden_act"] = "gelu";
  EXPECT_EQ(message(ErrorKind::unsupported), "hidden_act must be silu: gelu");
}

}  // namespace
}  // namespace nibble
