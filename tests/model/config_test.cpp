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
  for (const char* key : {"num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "rope_theta", "rope_scaling",
                          "head_dim", "hidden_act", "attention_bias", "mlp_bias"})
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
  EXPECT_EQ(c.context, 4096u);
  EXPECT_EQ(c.declared_context, 32768u);
  model.config["sliding_window"] = nullptr;
  c = read();
  EXPECT_EQ(c.sliding_window, 0u);
  EXPECT_EQ(c.context, 32768u);
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
  EXPECT_EQ(read().sliding_window, 64u);
}

TEST_F(Config, ForeignModels) {
  model.config["model_type"] = "gpt_bigcode";
  EXPECT_EQ(message(ErrorKind::unsupported), "unknown model_type 'gpt_bigcode'; known are llama, mistral, qwen2, qwen3");
  model.config["model_type"] = "llama";
  model.config["architectures"] = {"LlamaForSequenceClassification"};
  EXPECT_EQ(message(ErrorKind::unsupported), "of model_type llama only LlamaForCausalLM can be run, not LlamaForSequenceClassification");
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
        Wrong{"rope_scaling", nlohmann::json({{"rope_type", "linear"}, {"factor", 0}}), "rope_scaling.factor makes no sense for rotary positions: 0"}));

TEST_F(Config, HeadsThatDoNotDivide) {
  model.config.erase("head_dim");
  model.config["num_attention_heads"] = 6;
  EXPECT_EQ(message(ErrorKind::corrupt), "hidden_size must be a multiple of num_attention_heads when head_dim is absent: 64, 6");
}

TEST_F(Config, ScalingThatCannotBeRun) {
  for (const char* type : {"yarn", "dynamic", "longrope", "su"}) {
    model.config["rope_scaling"] = {{"rope_type", type}, {"factor", 2.0}};
    EXPECT_EQ(message(ErrorKind::unsupported), std::string("rotary scaling can be default, linear or llama3; rope_scaling.rope_type: ") + type);
  }
}

TEST_F(Config, OtherActivationsCannotBeRun) {
  model.config["hidden_act"] = "gelu";
  EXPECT_EQ(message(ErrorKind::unsupported), "hidden_act must be silu: gelu");
}

}  // namespace
}  // namespace nibble
