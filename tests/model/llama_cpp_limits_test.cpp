// SPDX-License-Identifier: Apache-2.0
//
// What GGUF files of a family cannot say, or llama.cpp takes for granted, is refused before anything is written.
#include <gtest/gtest.h>

#include <ostream>

#include "tiny_models.h"

namespace nibble {
namespace {

using Json = nlohmann::json;

struct Limit {
  const char* model;
  Json config;  // merged into the model's
  const char* message;
};

void PrintTo(const Limit& limit, std::ostream* out) { *out << limit.model << ": " << limit.message; }

class LlamaCppLimit : public testing::TestWithParam<Limit> {};

TEST_P(LlamaCppLimit, IsRefusedWithANextStep) {
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / GetParam().model);
  to_gguf_metadata(SourceModel::open(data_directory() / GetParam().model).config(), {});
  model.config.merge_patch(GetParam().config);
  model.write(scratch.path());
  const ModelConfig config = SourceModel::open(scratch.path()).config();
  const auto [kind, text] = error_of([&] { to_gguf_metadata(config, {}); });
  EXPECT_EQ(kind, ErrorKind::unsupported) << text;
  EXPECT_NE(text.find(GetParam().message), std::string::npos) << text;
  EXPECT_NE(text.find("write a directory instead"), std::string::npos) << text;
}

const char* const kNoBiases = "llama.cpp reads no biases in files of this family";
const char* const kNormalizes = "cannot say that experts' weights are made to sum to 1";

INSTANTIATE_TEST_SUITE_P(
    Families, LlamaCppLimit,
    testing::Values(
        Limit{"tiny_bitnet", {{"tie_word_embeddings", false}}, "reads no head beside the embedding"},
        Limit{"tiny_bitnet", {{"attention_bias", true}}, kNoBiases},
        Limit{"tiny_smollm3", {{"no_rope_layers", {1, 0, 1, 0, 1}}}, "cannot say which layers know no positions"},
        Limit{"tiny_smollm3", {{"mlp_bias", true}}, kNoBiases},
        Limit{"tiny_olmo2", {{"tie_word_embeddings", true}}, "only with a head beside the embedding"},
        Limit{"tiny_olmo2", {{"attention_bias", true}}, kNoBiases},
        Limit{"tiny_olmo3",
              {{"rope_parameters", {{"sliding_attention", {{"rope_theta", 5000.0}}}}}},
              "turns layers that slide by the base of the others"},
        Limit{"tiny_olmoe", {{"norm_topk_prob", true}}, kNormalizes},
        Limit{"tiny_olmoe", {{"num_key_value_heads", 2}}, "whose keys have fewer heads than queries"},
        Limit{"tiny_granite", {{"mlp_bias", true}}, kNoBiases}, Limit{"tiny_ernie45", {{"use_bias", true}}, kNoBiases},
        Limit{"tiny_hunyuan", {{"attention_bias", true}}, kNoBiases},
        Limit{"tiny_qwen2moe", {{"norm_topk_prob", true}}, kNormalizes},
        Limit{"tiny_qwen2moe", {{"qkv_bias", false}}, "with biases on q, k and v"},
        Limit{"tiny_qwen2moe", {{"mlp_only_layers", {0}}}, "cannot say that some layers have no experts"},
        Limit{"tiny_lfm2", {{"head_dim", 24}}, "whose heads are not as wide as the model together"}));

}  // namespace
}  // namespace nibble
