// SPDX-License-Identifier: Apache-2.0
//
// What configurations of DeepSeek's family say: positions, what queries are made of, shared experts.
#include <gtest/gtest.h>

#include "model/config.h"
#include "tiny_models.h"

namespace nibble {
namespace {

class LatentConfig : public testing::Test {
 protected:
  ModelConfig read() {
    model.write(scratch.path());
    return read_model_config(SourceModel::open(scratch.path()));
  }

  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / "tiny_deepseek2");
};

// As Kimi K2 is released: both borders of yarn are the same. transformers 5.24, _compute_yarn_parameters.
TEST_F(LatentConfig, BordersOfYarnMayMeet) {
  model.config["model_type"] = "kimi_k2";
  model.config["rope_theta"] = 50000.0;
  model.config["max_position_embeddings"] = 262144;
  model.config["rope_scaling"] = {
      {"type", "yarn"},       {"factor", 64.0},   {"original_max_position_embeddings", 4096},
      {"beta_fast", 1.0},     {"beta_slow", 1.0}, {"mscale", 1.0},
      {"mscale_all_dim", 1.0}};
  const ModelConfig c = read();
  EXPECT_EQ(c.rope.high_frequency_factor, 1);
  EXPECT_EQ(c.rope.low_frequency_factor, 1);
  EXPECT_EQ(c.rope.magnitude, 1);
  const std::vector<double> wanted = {1.0,
                                      0.2586001455783844,
                                      0.06687403470277786,
                                      0.01729363389313221,
                                      0.004472136031836271,
                                      1.8070233636535704e-05,
                                      4.672965133067919e-06,
                                      1.2084293530278956e-06};
  const std::vector<double> frequencies = rope_inverse_frequencies(c.rope);
  ASSERT_EQ(frequencies.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(frequencies[i], wanted[i], 1e-6 * wanted[i]) << i;
  // llama.cpp reads no borders of this family.
  const auto [kind, text] = error_of([&] { to_gguf_metadata(c, {}); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_TRUE(text.ends_with("write a directory instead: 1, 1, true")) << text;
}

// llama.cpp asks for the rank unless it knows the model by its size, and then reads none.
TEST_F(LatentConfig, GgufFilesSayTheRankOfQueries) {
  constexpr const char* kKey = "deepseek2.attention.q_lora_rank";
  ModelConfig c = read();
  EXPECT_EQ(to_gguf_metadata(c, {}).unsigned_integer(kKey), 48u);
  c.query_latent = 0;
  EXPECT_EQ(to_gguf_metadata(c, {}).unsigned_integer(kKey), 0u);
  c.layers = 27;
  c.dense.assign(27, false);
  EXPECT_EQ(to_gguf_metadata(c, {}).unsigned_integer(kKey), 0u);
  c.query_latent = 48;
  const auto [kind, text] = error_of([&] { to_gguf_metadata(c, {}); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_NE(text.find("a model of 27 layers with 256 tokens: q_lora_rank 48"), std::string::npos) << text;
}

TEST_F(LatentConfig, FactorsOfScoresAndRoutersTellNetworksApart) {
  const ModelConfig c = read();
  ModelConfig other = c;
  other.score_factor *= 1 + 1e-7;  // as f32 has it
  EXPECT_TRUE(is_same_network(c, other));
  other.score_factor = 1;
  EXPECT_FALSE(is_same_network(c, other));
  other = c;
  other.routing_offset = 0;
  EXPECT_FALSE(is_same_network(c, other));
}

}  // namespace
}  // namespace nibble
