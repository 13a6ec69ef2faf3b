// SPDX-License-Identifier: Apache-2.0
//
// Packages as GenAI's model builder writes them: one of two layers by hand, in the names and shapes that it gives its
// constants and operators.
#include "io/onnx/builder_package.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/scratch_directory.h"
#include "io/checkpoint.h"
#include "io/onnx/onnx_package.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// Llama: 32 channels, 3 heads of 16 channels that 1 of keys serves, 64 in the MLP, 40 tokens.
class BuilderPackages : public testing::Test {
 protected:
  static constexpr std::uint64_t kHidden = 32, kInner = 64, kVocabulary = 40, kHead = 16, kPairs = kHead / 2;

  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << "built without ONNX";
    settings_ = {{"model",
                  {{"type", "llama"},
                   {"vocab_size", kVocabulary},
                   {"context_length", 6},
                   {"bos_token_id", 1},
                   {"eos_token_id", 2},
                   {"decoder", {{"head_size", kHead}, {"hidden_size", kHidden}, {"num_hidden_layers", 2}}}}}};
    model_.microsoft_opset = 1;
    for (const std::string layer : {"0", "1"}) {
      const std::string constant = "model.layers." + layer + ".", node = "/model/layers." + layer + "/";
      add_norm(constant + "input_layernorm.weight", kHidden);
      add_norm(constant + "post_attention_layernorm.weight", kHidden);
      add_matrix(node + "attn/qkv_proj/MatMul_Q4", constant + "attn.qkv_proj.MatMul.weight_Q4", 5 * kHead, kHidden);
      model_.nodes.push_back({node + "attn/GroupQueryAttention",
                              "GroupQueryAttention",
                              "com.microsoft",
                              {},
                              {},
                              {{"num_heads", std::int64_t{3}},
                               {"kv_num_heads", std::int64_t{1}},
                               {"local_window_size", std::int64_t{-1}}}});
      add_matrix(node + "attn/o_proj/MatMul_Q4", constant + "attn.o_proj.MatMul.weight_Q4", kHidden, 3 * kHead);
      add_matrix(node + "mlp/gate_proj/MatMul_Q4", constant + "mlp.gate_proj.MatMul.weight_Q4", kInner, kHidden);
      add_matrix(node + "mlp/up_proj/MatMul_Q4", constant + "mlp.up_proj.MatMul.weight_Q4", kInner, kHidden);
      add_matrix(node + "mlp/down_proj/MatMul_Q4", constant + "mlp.down_proj.MatMul.weight_Q4", kHidden, kInner);
    }
    model_.nodes.push_back(
        {"norm", "SkipSimplifiedLayerNormalization", "com.microsoft", {}, {}, {{"epsilon", 0x1p-16F}}});
    add_norm("model.layers.2.final_norm_layernorm.weight", kHidden);
    add_matrix("/lm_head/MatMul_Q4", "lm_head.MatMul.weight_Q4", kVocabulary, kHidden);
    model_.nodes.push_back({"look-up", "Reshape", "", {"lm_head.MatMul.weight_Q4", "shape"}, {"reshaped"}, {}});
    turn(10000, 1);
  }

  // Positions that turn by powers of `base`, the later half of them `slower` times slower.
  void turn(double base, double slower) {
    std::vector<float> cosines, sines;
    for (int position = 0; position < 6; ++position)
      for (std::uint64_t i = 0; i < kPairs; ++i) {
        const double frequency = std::pow(base, -static_cast<double>(i) / kPairs) / (i < kPairs / 2 ? 1 : slower);
        cosines.push_back(static_cast<float>(std::cos(position * frequency)));
        sines.push_back(static_cast<float>(std::sin(position * frequency)));
      }
    add_floats("cos_cache", {6, kPairs}, cosines);
    add_floats("sin_cache", {6, kPairs}, sines);
  }

  void add(const std::string& name, OnnxType type, std::vector<std::uint64_t> dims, const std::string& bytes) {
    std::erase_if(model_.initializers, [&](const OnnxInitializer& one) { return one.name == name; });
    model_.initializers.push_back(
        {name, type, std::move(dims), {}, OnnxExternal{"model.onnx.data", data_.size(), bytes.size()}});
    data_ += bytes;
  }
  void add_floats(const std::string& name, std::vector<std::uint64_t> dims, const std::vector<float>& values) {
    std::string bytes(values.size() * sizeof(float), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    add(name, OnnxType::f32, std::move(dims), bytes);
  }
  void add_norm(const std::string& name, std::uint64_t width) { add_floats(name, {width}, std::vector(width, 1.5F)); }
  // Row r has scale r + 1 and codes 9, so that its numbers are r + 1.
  void add_matrix(const std::string& node, const std::string& values, std::uint64_t rows, std::uint64_t cols) {
    std::vector<float> scales;
    for (std::uint64_t r = 0; r < rows; ++r)
      for (std::uint64_t g = 0; g < cols / 16; ++g) scales.push_back(static_cast<float>(r + 1));
    add(values, OnnxType::u8, {rows, cols / 16, 8}, std::string(rows * cols / 2, '\x99'));
    add_floats(values + "_scales", {rows, cols / 16}, scales);
    model_.nodes.push_back({node,
                            "MatMulNBits",
                            "com.microsoft",
                            {"x", values, values + "_scales"},
                            {"y"},
                            {{"K", static_cast<std::int64_t>(cols)},
                             {"N", static_cast<std::int64_t>(rows)},
                             {"bits", std::int64_t{4}},
                             {"block_size", std::int64_t{16}}}});
  }

  Checkpoint open() {
    write_text("model.onnx", serialize_onnx(model_));
    write_text("model.onnx.data", data_);
    write_text("genai_config.json", settings_.dump());
    return Checkpoint::open(scratch_.path());
  }
  void write_text(const std::string& name, const std::string& text) {
    std::ofstream(scratch_ / name, std::ios::binary) << text;
  }
  std::string refusal() {
    try {
      open();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  ScratchDirectory scratch_;
  nlohmann::json settings_;
  OnnxModel model_;
  std::string data_;
};

TEST_F(BuilderPackages, AreReadByTheNamesOfADirectory) {
  const Checkpoint package = open();
  EXPECT_EQ(package.tensors().size(), 2u * 9 + 2);  // of a layer two norms, seven matrices
  const auto first = [&](const std::string& name) {
    const StoredTensor& tensor = package.tensor(name);
    EXPECT_EQ(tensor.values.format()->name(), "int4:g16:f32") << name;
    return std::pair(tensor.shape, tensor.values.decode().front());
  };
  const std::string layer = "model.layers.1.self_attn.";
  EXPECT_EQ(first(layer + "q_proj.weight"), std::pair(Shape({48, 32}), 1.0F));
  EXPECT_EQ(first(layer + "k_proj.weight"), std::pair(Shape({16, 32}), 49.0F));
  EXPECT_EQ(first(layer + "v_proj.weight"), std::pair(Shape({16, 32}), 65.0F));
  EXPECT_EQ(first(layer + "o_proj.weight"), std::pair(Shape({32, 48}), 1.0F));
  EXPECT_EQ(first("model.embed_tokens.weight").first, Shape({40, 32}));
  EXPECT_EQ(package.tensor("model.norm.weight").values.decode().front(), 1.5F);
  EXPECT_EQ(nlohmann::json::parse(package.config_json()), nlohmann::json({{"architectures", {"LlamaForCausalLM"}},
                                                                          {"model_type", "llama"},
                                                                          {"hidden_size", 32},
                                                                          {"intermediate_size", 64},
                                                                          {"num_hidden_layers", 2},
                                                                          {"num_attention_heads", 3},
                                                                          {"num_key_value_heads", 1},
                                                                          {"head_dim", 16},
                                                                          {"vocab_size", 40},
                                                                          {"max_position_embeddings", 6},
                                                                          {"rms_norm_eps", 0x1p-16},
                                                                          {"rope_theta", 10000.0},
                                                                          {"hidden_act", "silu"},
                                                                          {"tie_word_embeddings", true},
                                                                          {"sliding_window", nullptr},
                                                                          {"attention_bias", false},
                                                                          {"bos_token_id", 1},
                                                                          {"eos_token_id", 2}}));
}

TEST_F(BuilderPackages, HaveBiasesAndAHeadOfTheirOwn) {
  std::vector<float> biases(5 * kHead);
  for (std::size_t i = 0; i < biases.size(); ++i) biases[i] = static_cast<float>(i);
  add_floats("model.layers.0.attn.qkv_proj.Add.bias", {5 * kHead}, biases);
  std::erase_if(model_.nodes, [](const OnnxNode& node) { return node.op == "Reshape"; });
  add_floats("model.embed_tokens.weight", {kVocabulary, kHidden}, std::vector(kVocabulary * kHidden, 0.25F));
  const Checkpoint package = open();
  EXPECT_EQ(package.tensor("model.layers.0.self_attn.k_proj.bias").values.decode().front(), 48);
  EXPECT_EQ(package.tensor("lm_head.weight").shape, Shape({40, 32}));
  EXPECT_EQ(package.tensor("model.embed_tokens.weight").values.decode().front(), 0.25F);
  const auto config = nlohmann::json::parse(package.config_json());
  EXPECT_EQ(config["attention_bias"], true);
  EXPECT_EQ(config["tie_word_embeddings"], false);
}

TEST_F(BuilderPackages, AreRefusedWhereTheySayTooLittle) {
  turn(10000, 8);
  EXPECT_NE(refusal().find("positions turn by frequencies that are scaled"), std::string::npos);
  write_text("config.json", "{}");  // which then decides
  EXPECT_EQ(open().config_json(), "{}");
  settings_["model"]["type"] = "gemma2";
  EXPECT_NE(refusal().find("llama, mistral, qwen2 and qwen3, not of 'gemma2'"), std::string::npos);
  settings_["model"]["type"] = "llama";
  const std::vector<OnnxNode> nodes = model_.nodes;
  model_.nodes.push_back({"/model/layers.0/mlp/router/MatMul", "MatMul", "", {"x", "cos_cache"}, {}, {}});
  EXPECT_NE(refusal().find("matrices in floating point lie transposed"), std::string::npos);
  model_.nodes = nodes;
  add_norm("model.layers.0.self_attn.sinks", 3);
  EXPECT_NE(refusal().find("a constant is none of a family that is read: 'model.layers.0.self_attn.sinks'"),
            std::string::npos);
  model_.nodes = nodes;
  for (OnnxNode& node : model_.nodes)
    if (node.op == "GroupQueryAttention") node.attributes[0].value = std::int64_t{4};
  EXPECT_NE(refusal().find("has no rows for 6 heads"), std::string::npos);
  model_.nodes.clear();
  EXPECT_NE(refusal().find("packages that nibble has exported are read, and those of GenAI's model builder"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble
