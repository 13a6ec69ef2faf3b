// SPDX-License-Identifier: Apache-2.0
//
// Networks that are known by name only.
#include "model/undrawn_networks.h"

#include <gtest/gtest.h>

#include "tiny_models.h"

namespace nibble {
namespace {

TEST(UndrawnNetworks, AreToldByEveryNameThatTheyHave) {
  for (const char* const name : {"gemma3n",
                                 "gemma3n_text",
                                 "Gemma3nForConditionalGeneration",
                                 "llama4",
                                 "Llama4ForCausalLM",
                                 "cohere",
                                 "command-r",
                                 "cohere2",
                                 "cohere2_moe",
                                 "cohere2moe",
                                 "exaone4",
                                 "seed_oss",
                                 "starcoder2",
                                 "gpt_neox",
                                 "GPTNeoXForCausalLM",
                                 "gptneox",
                                 "falcon",
                                 "falcon_h1",
                                 "falcon-h1",
                                 "mamba",
                                 "mamba2",
                                 "jamba",
                                 "apertus",
                                 "arcee",
                                 "afmoe",
                                 "internlm2",
                                 "internlm3",
                                 "minicpm",
                                 "minicpm3",
                                 "stablelm",
                                 "phimoe",
                                 "PhiMoEForCausalLM",
                                 "hunyuan_v1_moe",
                                 "hunyuan-moe",
                                 "hy_v3",
                                 "hy_v4",
                                 "bailingmoe2",
                                 "bailing_moe_v2",
                                 "dots1",
                                 "mimo2",
                                 "mimo_v2_flash",
                                 "step35",
                                 "laguna",
                                 "deepseek_v32",
                                 "deepseek32",
                                 "deepseek_v4",
                                 "glm-dsa",
                                 "glm_moe_dsa",
                                 "glm5_next",
                                 "kimi-linear",
                                 "kimi_linear",
                                 "kimi-k3",
                                 "minimax-m3",
                                 "mistral_large4",
                                 "qwen4_exp",
                                 "qwen4exp",
                                 "lfm3",
                                 "hrm_text",
                                 "muse-glimmer",
                                 "muse_glimmer",
                                 "rwkv",
                                 "rwkv7",
                                 "dream",
                                 "llada",
                                 "llada-moe",
                                 "siglip_vision_model",
                                 "clip"}) {
    const auto text = undrawn_network(name);
    ASSERT_TRUE(text) << name;
    EXPECT_TRUE(text->ends_with("; its matrices can be inspected, and quantized one by one by the methods rtn and mse"))
        << *text;
  }
  EXPECT_FALSE(undrawn_network("gpt2"));
  EXPECT_FALSE(undrawn_network("gpt"));
  EXPECT_FALSE(undrawn_network(""));
}

TEST(UndrawnNetworks, AreNoneThatIsRun) {
  for (const Architecture& family : all_architectures()) {
    EXPECT_FALSE(undrawn_network(family.gguf_name)) << family.gguf_name;
    for (const HfVariant& variant : family.variants)
      for (const std::string_view name :
           {variant.model_type, variant.class_name, variant.wrapper_type, variant.wrapper_class})
        EXPECT_FALSE(undrawn_network(name)) << name;
  }
}

TEST(UndrawnNetworks, AreRefusedWithTheirNameAndAHint) {
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / "tiny_qwen3");
  model.config["model_type"] = "stablelm";
  model.config["architectures"] = {"StableLmForCausalLM"};
  model.write(scratch.path());
  const auto [kind, text] = error_of([&] { SourceModel::open(scratch.path()).require_parts(); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_TRUE(text.starts_with((scratch / "config.json").string() +
                               ": model_type 'stablelm' is StableLM, which cannot be run: its norms have means; its "
                               "matrices can be inspected, and quantized one by one by the methods rtn and mse; known "
                               "are llama, mistral, "))
      << text;
  model.config.erase("model_type");
  model.write(scratch.path());
  EXPECT_NE(error_of([&] {
              SourceModel::open(scratch.path()).require_parts();
            }).second.find("architectures 'StableLmForCausalLM' is StableLM, which cannot be run"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble
