// SPDX-License-Identifier: Apache-2.0
//
// Files that keep queries, keys and values in one matrix where the network has three: ChatGLM's directories, and GGUF
// files of any family. The judge is the same model with its parts apart, which agrees with transformers.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "engine/decoder.h"
#include "io/gguf/gguf_value.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

// tiny_glm as ChatGLM 2 and 3 are stored.
EditableModel chatglm() {
  EditableModel glm = EditableModel::read(data_directory() / "tiny_glm"), model;
  const auto& c = glm.config;
  model.config = {{"architectures", {"ChatGLMModel"}},
                  {"model_type", "chatglm"},
                  {"add_bias_linear", false},
                  {"add_qkv_bias", true},
                  {"apply_query_key_layer_scaling", true},
                  {"apply_residual_connection_post_layernorm", false},
                  {"bos_token_id", 0},
                  {"eos_token_id", 1},
                  {"ffn_hidden_size", c["intermediate_size"]},
                  {"hidden_size", c["hidden_size"]},
                  {"kv_channels", c["head_dim"]},
                  {"layernorm_epsilon", c["rms_norm_eps"]},
                  {"multi_query_attention", true},
                  {"multi_query_group_num", c["num_key_value_heads"]},
                  {"num_attention_heads", c["num_attention_heads"]},
                  {"num_layers", c["num_hidden_layers"]},
                  {"original_rope", true},
                  {"padded_vocab_size", c["vocab_size"]},
                  {"post_layer_norm", true},
                  {"rmsnorm", true},
                  {"seq_length", c["max_position_embeddings"]},
                  {"torch_dtype", "float32"}};
  const std::map<std::string, std::string> names = {{"model.embed_tokens.weight", "embedding.word_embeddings.weight"},
                                                    {"model.norm.weight", "encoder.final_layernorm.weight"},
                                                    {"lm_head.weight", "output_layer.weight"}};
  for (const auto& [name, own] : names) model.tensors["transformer." + own] = glm.tensors.at(name);
  const std::map<std::string, std::string> layer_names = {
      {"input_layernorm.weight", "input_layernorm.weight"},
      {"self_attn.o_proj.weight", "self_attention.dense.weight"},
      {"post_attention_layernorm.weight", "post_attention_layernorm.weight"},
      {"mlp.gate_up_proj.weight", "mlp.dense_h_to_4h.weight"},
      {"mlp.down_proj.weight", "mlp.dense_4h_to_h.weight"}};
  for (int layer = 0; layer < c["num_hidden_layers"].get<int>(); ++layer) {
    const std::string from = "model.layers." + std::to_string(layer) + ".",
                      to = "transformer.encoder.layers." + std::to_string(layer) + ".";
    for (const auto& [name, own] : layer_names) model.tensors[to + own] = glm.tensors.at(from + name);
    for (const char* const kind : {"weight", "bias"}) {
      EditableModel::Stored& joint = model.tensors[to + "self_attention.query_key_value." + kind];
      joint = glm.tensors.at(from + "self_attn.q_proj." + kind);
      for (const char* const part : {"k", "v"}) {
        const EditableModel::Stored& below = glm.tensors.at(from + "self_attn." + part + "_proj." + kind);
        joint.shape[0] += below.shape[0];
        joint.bytes += below.bytes;
      }
    }
  }
  model.tensors["transformer.rotary_pos_emb.inv_freq"] = {"F32", {4}, std::string(16, '\0')};
  return model;
}

std::vector<float> logits_of(const std::filesystem::path& model, Machine& machine,
                             const DecoderOptions& options = exact_options()) {
  Decoder decoder(SourceModel::open(model), options, machine);
  return all_logits(decoder, ReferenceLogits::read("tiny_glm").ids);
}

TEST(ChatGlm, AgreesWithTransformers) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  chatglm().write(scratch / "model");
  const std::vector<float> logits = logits_of(scratch / "model", machine);
  EXPECT_EQ(logits, logits_of(data_directory() / "tiny_glm", machine));
  const ReferenceLogits reference = ReferenceLogits::read("tiny_glm");
  for (const auto& [position, expected] : reference.at)
    EXPECT_LT(relative_difference(std::span(logits).subspan(position * expected.size(), expected.size()), expected),
              1e-4);
}

// Both containers get three matrices, and a directory the words that transformers knows.
TEST(ChatGlm, IsWrittenAsGlm) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  chatglm().write(scratch / "model");
  for (const char* const format : {"f32", "q8_0", "int4:g32"})
    for (const char* const to : {"", ".gguf"}) {
      if (std::string(format) == "int4:g32" && *to != '\0') continue;
      const std::string own = std::string("own") + format + to, usual = std::string("usual") + format + to;
      quantize_to(scratch / "model", format, scratch / own, machine);
      quantize_to(data_directory() / "tiny_glm", format, scratch / usual, machine);
      const SourceModel a = SourceModel::open(scratch / own), b = SourceModel::open(scratch / usual);
      ASSERT_EQ(a.tensors().size(), b.tensors().size());
      for (const StoredTensor& tensor : b.tensors())
        EXPECT_EQ(a.tensor(tensor.name).values.decode(), tensor.values.decode()) << own << " " << tensor.name;
      EXPECT_EQ(logits_of(scratch / own, machine), logits_of(scratch / usual, machine)) << own;
      if (*to != '\0') continue;
      const auto config = nlohmann::json::parse(a.config_json());
      EXPECT_EQ(config["model_type"], "glm");
      EXPECT_EQ(config["architectures"][0], "GlmForCausalLM");
      EXPECT_EQ(config["eos_token_id"], 1);
      EXPECT_EQ(to_huggingface_config(a.config(), {}), to_huggingface_config(b.config(), {}));
    }
}

TEST(ChatGlm, ReadsWhatOnlyItSays) {
  ScratchDirectory scratch;
  EditableModel model = chatglm();
  model.config["rope_ratio"] = 500;
  model.config["architectures"] = {"ChatGLMForConditionalGeneration"};
  model.write(scratch / "model");
  const SourceModel source = SourceModel::open(scratch / "model");
  EXPECT_EQ(source.config().rope.base, 5e6);
}

TEST(ChatGlm, NamesTheKeyAtFault) {
  const auto message = [](const std::function<void(EditableModel&)>& edit) {
    ScratchDirectory scratch;
    EditableModel model = chatglm();
    edit(model);
    model.write(scratch / "model");
    return error_of([&] {
             const SourceModel source = SourceModel::open(scratch / "model");
             source.require_parts();
           })
        .second;
  };
  using Model = EditableModel;
  EXPECT_NE(message([](Model& m) { m.config["num_layers"] = "two"; }).find("config.json: num_layers must be"),
            std::string::npos);
  EXPECT_NE(message([](Model& m) { m.config.erase("ffn_hidden_size"); }).find("key is missing: ffn_hidden_size"),
            std::string::npos);
  EXPECT_NE(message([](Model& m) { m.config["post_layer_norm"] = false; }).find("post_layer_norm other than true"),
            std::string::npos);
  EXPECT_NE(message([](Model& m) { m.config["rope_ratio"] = 0; }).find("rope_ratio must be a number above 0: 0"),
            std::string::npos);
  const std::string switched = message([](Model& m) { m.config["add_qkv_bias"] = false; });
  EXPECT_TRUE(switched.ends_with("means: add_qkv_bias is not true")) << switched;
  const std::string rounded = message([](Model& m) { m.config["quantization_bit"] = 4; });
  EXPECT_TRUE(
      rounded.ends_with("config.json: the model is quantized already by ChatGLM's own code, whose codes are not "
                        "read here; give the original in 16 bits; quantization_bit: 4"))
      << rounded;
  const std::string whole = message([](Model& m) {
    m.config["quantization_bit"] = 0;  // not quantized
    m.config["num_layers"] = 1;
  });
  EXPECT_NE(whole.find("num_layers counts fewer layers"), std::string::npos) << whole;
  EXPECT_NE(message([](Model& m) { m.config["pre_seq_len"] = 128; }).find("pre_seq_len"), std::string::npos);
  EXPECT_NE(message([](Model& m) { m.config["inner_hidden_size"] = 128; }).find("the first ChatGLM"),
            std::string::npos);
  EXPECT_NE(
      message([](Model& m) { m.config.erase("multi_query_attention"); }).find("multi_query_attention must be true"),
      std::string::npos);
  EXPECT_NE(message([](Model& m) { m.config["original_rope"] = false; }).find("original_rope other than true"),
            std::string::npos);
  const std::string fewer = message([](Model& m) { m.config["num_layers"] = 1; });
  EXPECT_NE(fewer.find("'transformer.encoder.layers.1."), std::string::npos) << fewer;
  EXPECT_NE(fewer.find(": num_layers counts fewer layers: 1"), std::string::npos) << fewer;
  const std::string shape = message([](Model& m) { m.config["multi_query_group_num"] = 1; });
  EXPECT_NE(shape.find("'transformer.encoder.layers.0.self_attention.query_key_value.weight' is ["), std::string::npos)
      << shape;
  EXPECT_NE(shape.find("multi_query_group_num: 1"), std::string::npos) << shape;
  const std::string missing =
      message([](Model& m) { m.tensors.erase("transformer.encoder.layers.1.self_attention.query_key_value.weight"); });
  EXPECT_NE(missing.find("transformer.encoder.layers.1.self_attention.query_key_value.weight"), std::string::npos)
      << missing;
}

// A GGUF file with q, k and v of every layer in one tensor, as other programs may write them.
void join_attention(const std::filesystem::path& from, const std::filesystem::path& to) {
  const SourceModel source = SourceModel::open(from);
  struct Joint {
    std::string name;
    std::vector<const StoredTensor*> parts;
  };
  std::vector<Joint> all;
  for (const StoredTensor& tensor : source.tensors()) {
    std::string name = tensor.name;
    for (const char* const part : {".attn_q.", ".attn_k.", ".attn_v."})
      if (const std::size_t at = name.find(part); at != std::string::npos) name.replace(at, 8, ".attn_qkv.");
    const auto known = std::ranges::find(all, name, &Joint::name);
    if (known == all.end())
      all.push_back({name, {&tensor}});
    else
      known->parts.push_back(&tensor);
  }
  const auto order = [](const StoredTensor* tensor) { return tensor->name[tensor->name.find("attn_") + 5]; };  // q k v
  std::vector<PlannedTensor> plan;
  for (Joint& joint : all) {
    if (joint.parts.size() > 1)
      std::ranges::sort(joint.parts, [&](const auto* a, const auto* b) {
        return std::string("qkv").find(order(a)) < std::string("qkv").find(order(b));
      });
    Shape shape = joint.parts.front()->shape;
    for (std::size_t i = 1; i < joint.parts.size(); ++i) shape.front() += joint.parts[i]->shape.front();
    plan.push_back({joint.name, shape, joint.parts.front()->values.format()});
  }
  const auto writer = make_gguf_writer(to, source.gguf(), plan);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (plan[i].shape.size() == 1 && all[i].parts.size() > 1) {
      QuantizedTensor row(plan[i].format, 1, plan[i].shape.front());
      std::size_t at = 0;
      for (const StoredTensor* part : all[i].parts) {
        std::memcpy(row.planes[0].data() + at, part->data.data(), part->data.size());
        at += part->data.size();
      }
      writer->write_rows(i, row.view());
    } else {
      for (const StoredTensor* part : all[i].parts) writer->write_rows(i, *part->values.planes());
    }
  }
  writer->finish();
}

class JointAttention : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, JointAttention,
                         testing::Values("tiny_gqa_llama3rope", "tiny_qwen2", "tiny_qwen3moe", "tiny_glm"),
                         [](const auto& p) { return p.param; });

TEST_P(JointAttention, OfAGgufFileIsReadAsThreeParts) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  for (const char* const format : {"f32", "q8_0"}) {
    const std::filesystem::path apart = scratch / (std::string("apart-") + format + ".gguf"),
                                joint = scratch / (std::string("joint-") + format + ".gguf");
    quantize_to(data_directory() / GetParam(), format, apart, machine);
    join_attention(apart, joint);
    EXPECT_LT(SourceModel::open(joint).tensors().size(), SourceModel::open(apart).tensors().size());
    const std::vector<std::int32_t> ids = ReferenceLogits::read(GetParam()).ids;
    const auto logits = [&](const std::filesystem::path& file) {
      Decoder decoder(SourceModel::open(file), {}, machine);
      return all_logits(decoder, ids);
    };
    EXPECT_EQ(logits(joint), logits(apart)) << format;
    const auto decode = [&](const std::filesystem::path& file, const std::filesystem::path& output) {
      QuantizeModelOptions options;
      choose_format(options, "f32");
      options.output = output;
      options.allow_requantize = true;
      quantize_model(SourceModel::open(file), options, machine, {});
    };
    decode(joint, scratch / "back");
    decode(apart, scratch / "straight");
    const SourceModel back = SourceModel::open(scratch / "back"), straight = SourceModel::open(scratch / "straight");
    for (const StoredTensor& tensor : straight.tensors())
      EXPECT_EQ(back.tensor(tensor.name).values.decode(), tensor.values.decode()) << tensor.name;
  }
}

}  // namespace
}  // namespace nibble
