// SPDX-License-Identifier: Apache-2.0
//
// Gemma 3 as models that also read pictures are stored: the text part, under text_config and behind a prefix, is the
// model of text alone.
#include <gtest/gtest.h>

#include "kernels/chosen_isa.h"
#include "model/known_family.h"
#include "tiny_models.h"

namespace nibble {
namespace {

TEST(TextPart, GivesTheLogitsOfTheModelOfTextAlone) {
  const ReferenceLogits reference = ReferenceLogits::read("tiny_gemma3");
  Machine machine(chosen_isa(), 2);
  for (const auto& [prefix, vision] :
       {std::pair("language_model.model.", ""), std::pair("model.language_model.", "model.")}) {
    ScratchDirectory scratch;
    gemma3_with_pictures(prefix, vision).write(scratch.path());
    const SourceModel source = SourceModel::open(scratch.path());
    EXPECT_TRUE(has_known_family(source));
    EXPECT_TRUE(is_text_part(source));
    EXPECT_EQ(source.config().architecture, "gemma3");
    Decoder decoder(source, exact_options(), machine);
    const std::vector<float> logits = all_logits(decoder, reference.ids);
    const std::size_t vocab = source.config().vocab_size;
    for (const auto& [position, expected] : reference.at)
      EXPECT_LT(relative_difference(std::span(logits).subspan(position * vocab, vocab), expected), 1e-4) << prefix;
  }
}

// Qwen 3.5 has layers that guess further tokens beside its tower.
TEST(TextPart, OfQwenHasTheLogitsOfTheModelOfTextAlone) {
  for (const std::string type : {"qwen3_5", "qwen3_5_moe"}) {
    const std::string name = type == "qwen3_5" ? "tiny_qwen35" : "tiny_qwen35moe";
    EditableModel model = EditableModel::read(data_directory() / name);
    nlohmann::json text = model.config;
    text.erase("architectures");
    model.config = {{"architectures",
                     {type == "qwen3_5" ? "Qwen3_5ForConditionalGeneration" : "Qwen3_5MoeForConditionalGeneration"}},
                    {"model_type", type},
                    {"tie_word_embeddings", text["tie_word_embeddings"]},
                    {"text_config", text},
                    {"vision_config", {{"model_type", type}}}};
    const EditableModel::Stored some = model.tensors.at("model.norm.weight");
    std::map<std::string, EditableModel::Stored> tensors;
    for (auto& [tensor, stored] : model.tensors)
      tensors[tensor.starts_with("model.") ? "model.language_model." + tensor.substr(6) : tensor] = std::move(stored);
    tensors["model.visual.blocks.0.norm1.weight"] = tensors["mtp.layers.0.input_layernorm.weight"] =
        tensors["mtp.norm.weight"] = some;
    model.tensors = std::move(tensors);
    ScratchDirectory scratch;
    model.write(scratch.path());
    const SourceModel source = SourceModel::open(scratch.path());
    EXPECT_TRUE(is_text_part(source));
    Machine machine(chosen_isa(), 2);
    Decoder decoder(source, exact_options(), machine),
        plain(SourceModel::open(data_directory() / name), exact_options(), machine);
    const std::vector<std::int32_t> ids = ReferenceLogits::read(name).ids;
    EXPECT_EQ(all_logits(decoder, ids), all_logits(plain, ids)) << name;
  }
}

// As the released models have it: what the class means by itself is left out.
TEST(TextPart, KeysThatAreAbsentMeanWhatTheClassMeans) {
  ScratchDirectory scratch;
  EditableModel model = gemma3_with_pictures("language_model.model.", "");
  model.config["text_config"] = {{"hidden_size", 2560},
                                 {"intermediate_size", 10240},
                                 {"model_type", "gemma3_text"},
                                 {"num_hidden_layers", 34},
                                 {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                                 {"sliding_window", 1024}};
  model.write(scratch.path());
  const ModelConfig c = SourceModel::open(scratch.path()).config();
  EXPECT_EQ(c.vocab_size, 262208u);
  EXPECT_EQ(c.heads, 8u);
  EXPECT_EQ(c.kv_heads, 4u);
  EXPECT_EQ(c.head_dim, 256u);
  EXPECT_EQ(c.context, 131072u);
  EXPECT_TRUE(c.tied_embedding);
  EXPECT_FALSE(c.is_sliding(5));
  EXPECT_TRUE(c.is_sliding(6));
  EXPECT_EQ(c.rope_of(5).factor, 8);
  EXPECT_EQ(c.rope_of(6).base, 1e4);
}

// One wrapper, two text parts: Mistral Small 3 is a mistral, Ministral 3 a network of its own.
TEST(TextPart, TheTypeOfTheTextSaysWhichItIs) {
  ScratchDirectory scratch;
  const auto read = [&](const nlohmann::json& text) {
    EditableModel model = EditableModel::read(data_directory() / "tiny_mistral3");
    model.config = {{"architectures", {"Mistral3ForConditionalGeneration"}},
                    {"model_type", "mistral3"},
                    {"text_config", text},
                    {"vision_config", {{"model_type", "pixtral"}}}};
    model.write(scratch.path());
    return SourceModel::open(scratch.path()).config();
  };
  const ModelConfig small = read({{"model_type", "mistral"}, {"head_dim", 128}, {"sliding_window", nullptr}});
  EXPECT_EQ(small.architecture, "llama");
  EXPECT_EQ(small.heads, 32u);
  EXPECT_EQ(small.sliding_window, 0u);
  EXPECT_EQ(read({{"sliding_window", nullptr}}).architecture, "llama");  // what the class takes

  const ModelConfig ministral = read({{"model_type", "ministral3"}});
  EXPECT_EQ(ministral.architecture, "mistral3");
  EXPECT_EQ(ministral.layers, 34u);
  EXPECT_EQ(ministral.rope.scaling, RopeScaling::yarn);
  EXPECT_EQ(ministral.rope.original_context, 16384u);
  EXPECT_FLOAT_EQ(ministral.rope.query_growth, 0.1f);
  EXPECT_EQ(ministral.rope.magnitude, 1);
  const auto [kind, text] = error_of([&] { read({{"model_type", "pixtral"}}); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_NE(text.find("can only be mistral or ministral3; text_config.model_type: pixtral"), std::string::npos) << text;
}

TEST(TextPart, ItsOwnConfigurationIsThatOfAModelOfTextAlone) {
  const auto whole = nlohmann::ordered_json::parse(gemma3_with_pictures("language_model.model.", "").config.dump());
  const auto own = text_part_config(whole);
  EXPECT_EQ(own["architectures"], nlohmann::ordered_json({"Gemma3ForCausalLM"}));
  EXPECT_EQ(own["model_type"], "gemma3_text");
  EXPECT_EQ(own["eos_token_id"], whole["eos_token_id"]);
  EXPECT_EQ(own["hidden_size"], 64);
  EXPECT_FALSE(own.contains("vision_config") || own.contains("text_config"));
  EXPECT_EQ(text_part_config(own), own);
}

// As ERNIE 4.5 was released first, with a class of its own.
TEST(OtherClassName, IsReadAsTheFamilys) {
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / "tiny_ernie45");
  model.config["architectures"] = {"Ernie4_5_ForCausalLM"};
  model.write(scratch.path());
  EXPECT_EQ(read_model_config(SourceModel::open(scratch.path())).architecture, "ernie45");
}

}  // namespace
}  // namespace nibble
