// SPDX-License-Identifier: Apache-2.0
//
// Configurations that say two things of one: the error names the keys, and what each of them says.
#include <gtest/gtest.h>

#include <functional>

#include "io/checkpoint_writer.h"
#include "tiny_models.h"

namespace nibble {
namespace {

using Json = nlohmann::json;

// Empty: nothing is said.
std::string said_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

class Contradiction : public testing::Test {
 protected:
  // What is said of a model of tests/data whose config.json has been edited, without the file's name.
  std::string message(const char* name, const std::function<void(Json&)>& edit) {
    EditableModel model = EditableModel::read(data_directory() / name);
    edit(model.config);
    model.write(scratch.path());
    const std::string text = said_of([&] { SourceModel::open(scratch.path()).require_parts(); });
    const std::string place = (scratch / "config.json").string() + ": ", directory = scratch.path().string() + ": ";
    return text.substr(text.starts_with(place) ? place.size() : std::min(text.size(), directory.size()));
  }

  ScratchDirectory scratch;
};

TEST_F(Contradiction, Gemma4LayerByLayer) {
  const auto by_layer = [&](const char* layer, const Json& words) {
    return message("tiny_gemma4", [&](Json& c) {
      const Json full = {{"head_dim", c["global_head_dim"]}};
      for (const char* const each : {"1", "3", "5"}) c["per_layer_config"][each] = full;
      c["per_layer_config"][layer].update(words);
    });
  };
  EXPECT_EQ(by_layer("5", Json::object()), "");
  EXPECT_EQ(by_layer("5", {{"hidden_activation", "gelu_pytorch_tanh"}}), "");  // as all have it
  EXPECT_EQ(by_layer("6", {{"head_dim", 32}}), "per_layer_config may speak of layers 0 to 5 alone: '6'");
  EXPECT_EQ(by_layer("one", {{"head_dim", 32}}), "per_layer_config may speak of layers 0 to 5 alone: 'one'");
  EXPECT_EQ(by_layer("1", {{"intermediate_size", 96}}),
            "layers that differ in anything but their heads cannot be run; per_layer_config.1.'intermediate_size': 96");
}

TEST_F(Contradiction, Gemma4KindsOfLayers) {
  EXPECT_EQ(message("tiny_gemma4", [](Json& c) { c["global_head_dim"] = 0; }), "global_head_dim must be at least 2: 0");
  EXPECT_EQ(message("tiny_gemma4", [](Json& c) { c["layer_types"].back() = "sliding_attention"; }),
            "layer_types must be full_attention in this family's last layer: \"sliding_attention\"");
  EXPECT_EQ(message("tiny_gemma4", [](Json& c) { c["layer_types"].erase(0); }),
            "layer_types must be a list of 6 names, as num_hidden_layers says: 5");
  for (const char* const kind : {"full_attention", "sliding_attention"})
    EXPECT_EQ(message("tiny_gemma4", [&](Json& c) { c["rope_parameters"].erase(kind); }),
              "rope_parameters." + std::string(kind) + " must be an object, since there are such layers: null");
  EXPECT_EQ(message("tiny_gemma4",
                    [](Json& c) {
                      const Json full = c["rope_parameters"]["full_attention"];
                      c["rope_parameters"] = full;
                    }),
            "rope_parameters.full_attention must be an object, since there are such layers: null");
}

TEST_F(Contradiction, ASwitchThatTakesPartsAwayIsNamed) {
  const std::string text = message("tiny_gemma4_moe", [](Json& c) { c["enable_moe_block"] = false; });
  EXPECT_TRUE(text.ends_with("is part of no network that the configuration means: enable_moe_block is not true"))
      << text;
  const std::string without = message("tiny_gemma4_moe", [](Json& c) { c.erase("enable_moe_block"); });
  EXPECT_NE(without.find("means: "), std::string::npos) << without;
  const std::string width = message("tiny_gemma4", [](Json& c) { c["hidden_size_per_layer_input"] = 0; });
  EXPECT_TRUE(width.ends_with("means: hidden_size_per_layer_input is not above 0")) << width;
}

TEST_F(Contradiction, RotaryPositionsBesideAGroupAndInIt) {
  const auto group = [](const Json& own) {
    return [own](Json& c) {
      Json words = own;
      c.erase("rope_scaling");
      words["rope_type"] = "default";
      if (!words.contains("partial_rotary_factor")) words["partial_rotary_factor"] = 0.5;
      c["rope_parameters"] = words;
      c["rope_theta"] = 10000;
      c["partial_rotary_factor"] = 0.5;
    };
  };
  for (const char* const name : {"tiny_glm", "tiny_glm4"}) {
    EXPECT_EQ(message(name, group({{"rope_theta", 10000.0}})), "");
    EXPECT_EQ(message(name, group({{"rope_theta", 500.0}})),
              "rope_theta must be the same as rope_parameters.rope_theta (500.0): 10000");
    EXPECT_EQ(message(name, group({{"rope_theta", 10000.0}, {"partial_rotary_factor", 0.25}})),
              "partial_rotary_factor must be the same as rope_parameters.partial_rotary_factor (0.25): 0.5");
  }
  EXPECT_EQ(message("tiny_qwen35",
                    [](Json& c) {
                      c["rope_parameters"]["partial_rotary_factor"] = 0.25;
                      c["partial_rotary_factor"] = 0.5;
                    }),
            "partial_rotary_factor must be the same as rope_parameters.partial_rotary_factor (0.25): 0.5");
}

TEST_F(Contradiction, LayersThatRecur) {
  EXPECT_EQ(message("tiny_qwen35", [](Json& c) { c["full_attention_interval"] = 3; }), "");
  EXPECT_EQ(message("tiny_qwen35", [](Json& c) { c["full_attention_interval"] = 2; }),
            "full_attention_interval must be what layer_types say: every so many layers full_attention: 2");
}

TEST_F(Contradiction, ExpertsOfAToken) {
  EXPECT_EQ(message("tiny_gptoss", [](Json& c) { c["experts_per_token"] = c["num_experts_per_tok"]; }), "");
  EXPECT_EQ(message("tiny_gptoss",
                    [](Json& c) {
                      c["num_experts_per_tok"] = 2;
                      c["experts_per_token"] = 3;
                    }),
            "experts_per_token must be the same as num_experts_per_tok (2): 3");
}

TEST_F(Contradiction, DivisorsOfRotaryPositions) {
  const SourceModel source = SourceModel::open(data_directory() / "tiny_gqa_llama3rope");
  const std::filesystem::path path = scratch / "m.gguf";
  const FormatPtr f32 = find_format("f32");
  const auto writer = make_gguf_writer(path, to_gguf_metadata(source.config(), {}), {{"rope_freqs.weight", {7}, f32}});
  writer->write_rows(0, QuantizedTensor(f32, 1, 7).view());
  writer->finish();
  EXPECT_EQ(said_of([&] { SourceModel::open(path).config(); }),
            path.string() +
                ": tensor 'rope_freqs.weight' is [7], but the file's header (llama.rope.dimension_count: "
                "16) asks for [8]");
}

// Of a GGUF file: the key, the tokenizer's words and the embedding's rows.
TEST_F(Contradiction, SizesOfTheVocabulary) {
  const SourceModel source = SourceModel::open(data_directory() / "tiny_gqa_llama3rope");
  const std::filesystem::path path = scratch / "m.gguf";
  const auto said = [&](std::uint32_t key, std::size_t tokens) {
    GgufMetadata metadata = to_gguf_metadata(source.config(), {});
    metadata.set("llama.vocab_size", GgufValue::of_u32(key));
    if (tokens != 0)
      metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings(std::vector<std::string>(tokens, "a")));
    const StoredTensor& embedding = source.tensor("model.embed_tokens.weight");
    const auto writer =
        make_gguf_writer(path, metadata, {{"token_embd.weight", embedding.shape, embedding.values.format()}});
    writer->write_rows(0, *embedding.values.planes());
    writer->finish();
    const std::string text = said_of([&] { SourceModel::open(path).config(); });
    return text.substr(std::min(text.size(), path.string().size() + 2));
  };
  EXPECT_EQ(said(256, 0), "");
  EXPECT_EQ(said(256, 256), "");
  EXPECT_EQ(said(255, 256), "llama.vocab_size must be as many as the rows of token_embd.weight (256): 255");
  EXPECT_EQ(said(256, 257), "tokenizer.ggml.tokens must be as many as the rows of token_embd.weight (256): 257");
}

}  // namespace
}  // namespace nibble
