// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints whose weights are not what their configuration says.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

class BadWeights : public testing::Test {
 protected:
  BadWeights() : model(EditableModel::read(data_directory() / "tiny_gqa_llama3rope")) {}

  std::string message(ErrorKind expected) {
    model.write(scratch.path());
    Machine machine(chosen_isa(), 2);
    const SourceModel checkpoint = SourceModel::open(scratch.path());
    const auto [kind, text] = error_of([&] { Decoder decoder(checkpoint, exact_options(), machine); });
    EXPECT_EQ(kind, expected) << text;
    EXPECT_NE(text.find(scratch.path().string()), std::string::npos) << text;
    return text;
  }
  void set_value(const std::string& tensor, std::size_t index, float value) {
    std::memcpy(model.tensors.at(tensor).bytes.data() + index * sizeof(float), &value, sizeof(float));
  }

  ScratchDirectory scratch;
  EditableModel model;
};

TEST_F(BadWeights, MissingTensor) {
  model.tensors.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_NE(message(ErrorKind::not_found).find("model.layers.1.mlp.up_proj.weight"), std::string::npos);
}

TEST_F(BadWeights, MissingHead) {
  model.tensors.erase("lm_head.weight");
  EXPECT_NE(message(ErrorKind::not_found).find("lm_head.weight"), std::string::npos);
}

TEST_F(BadWeights, MissingBias) {
  model.config["attention_bias"] = true;
  EXPECT_NE(message(ErrorKind::not_found).find("model.layers.0.self_attn.q_proj.bias"), std::string::npos);
}

TEST_F(BadWeights, WrongShape) {
  model.tensors.at("model.layers.0.mlp.down_proj.weight").shape = {96, 64};
  EXPECT_NE(message(ErrorKind::corrupt)
                .find("tensor 'model.layers.0.mlp.down_proj.weight' is [96, 64], but config.json (hidden_size: 64, "
                      "intermediate_size: 96) asks for [64, 96]"),
            std::string::npos);
}

TEST_F(BadWeights, NormOfAnotherWidth) {
  auto& norm = model.tensors.at("model.norm.weight");
  norm.shape = {32};
  norm.bytes.resize(32 * sizeof(float));
  EXPECT_NE(message(ErrorKind::corrupt)
                .find("tensor 'model.norm.weight' is [32], but config.json (hidden_size: 64) asks for [64]"),
            std::string::npos);
}

TEST_F(BadWeights, IntegersInsteadOfWeights) {
  auto& norm = model.tensors.at("model.norm.weight");
  norm.dtype = "I32";
  EXPECT_NE(message(ErrorKind::unsupported).find("tensor 'model.norm.weight' has elements that are no weights: I32"),
            std::string::npos);
}

TEST_F(BadWeights, NanInAMatrixNamesItsPlace) {
  set_value("model.layers.1.self_attn.o_proj.weight", 17 * 64 + 5, std::numeric_limits<float>::quiet_NaN());
  const std::string text = message(ErrorKind::corrupt);
  EXPECT_NE(text.find("tensor model.layers.1.self_attn.o_proj.weight"), std::string::npos) << text;
  EXPECT_NE(text.find("row 17"), std::string::npos) << text;
  EXPECT_NE(text.find("column 5"), std::string::npos) << text;
}

TEST_F(BadWeights, InfinityInANormNamesItsPlace) {
  set_value("model.layers.0.input_layernorm.weight", 63, std::numeric_limits<float>::infinity());
  const std::string text = message(ErrorKind::corrupt);
  EXPECT_NE(text.find("tensor model.layers.0.input_layernorm.weight"), std::string::npos) << text;
  EXPECT_NE(text.find("column 63"), std::string::npos) << text;
}

}  // namespace
}  // namespace nibble
