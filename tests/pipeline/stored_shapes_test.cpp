// SPDX-License-Identifier: Apache-2.0
//
// Tensors whose shapes contradict the configuration: whoever opens the model says so, in the same words.
#include <gtest/gtest.h>

#include <algorithm>

#include "calibrate/layer_weights.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"
#include "pipeline/tell/inspect.h"
#include "pipeline/tell/memory_plan.h"

namespace nibble {
namespace {

class StoredShapes : public testing::Test {
 protected:
  // What inspect and check, plan, a quantization's dry run, calibration and the engine say of a model, without its
  // directory; they must agree.
  std::string said_by_all(const std::filesystem::path& model) {
    const SourceModel source = SourceModel::open(model);
    const std::string told = obstacle_of(source);
    EXPECT_EQ(describe_model(source).obstacle, told);
    const auto agrees = [&](const char* who, const std::function<void()>& act) {
      EXPECT_EQ(error_of(act), told.empty() ? "no error" : told) << who;
    };
    agrees("plan", [&] { plan_memory({.model = model.string(), .memory = 1'000'000'000}); });
    QuantizeModelOptions options;
    choose_format(options, "q8_0");
    options.output = scratch / "out.gguf";
    options.dry_run = options.allow_requantize = true;
    agrees("quantize", [&] { quantize_model(source, options, machine, {}); });
    agrees("calibrate", [&] {
      std::vector<float> row(source.config().hidden);
      stored_rows(source)("embedding", 0, row.data());
      for (std::int64_t i = -1; i < static_cast<std::int64_t>(source.config().layers); ++i)
        LayerWeights(source, source.parts(), i, machine.pool);
    });
    agrees("run", [&] { Decoder decoder(source, exact_options(), machine); });
    const std::string place = scratch.path().string() + "/";
    EXPECT_TRUE(told.empty() || told.starts_with(place)) << told;
    return told.substr(std::min(told.size(), place.size()));
  }
  std::string of_directory(const char* name, const std::function<void(EditableModel&)>& edit) {
    EditableModel model = EditableModel::read(data_directory() / name);
    edit(model);
    std::filesystem::remove_all(scratch / "m");
    model.write(scratch / "m");
    return said_by_all(scratch / "m");
  }
  // A GGUF file of the model with one key changed.
  std::string of_file(const char* name, const char* key, std::uint32_t value) {
    quantize_to(data_directory() / name, "f32", scratch / "whole.gguf", machine);
    const SourceModel whole = SourceModel::open(scratch / "whole.gguf");
    GgufMetadata metadata = whole.gguf();
    metadata.set(key, GgufValue::of_u32(value));
    std::vector<PlannedTensor> plan;
    for (const StoredTensor& tensor : whole.tensors())
      plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
    const auto writer = make_gguf_writer(scratch / "m.gguf", metadata, plan);
    for (std::size_t i = 0; i < plan.size(); ++i) writer->write_rows(i, *whole.tensors()[i].values.planes());
    writer->finish();
    return said_by_all(scratch / "m.gguf");
  }

  ScratchDirectory scratch;
  Machine machine{chosen_isa(), 2};
};

TEST_F(StoredShapes, ASoundModelHasNothingSaidOfIt) {
  EXPECT_EQ(of_directory("tiny_qwen3moe", [](EditableModel&) {}), "");
  EXPECT_EQ(of_file("tiny_qwen3moe", "general.file_type", 0), "");
}

TEST_F(StoredShapes, NameTensorKeyAndBothShapes) {
  EXPECT_EQ(
      of_directory("tiny_gqa_llama3rope",
                   [](EditableModel& m) { m.tensors.at("model.layers.1.self_attn.k_proj.weight").shape = {64, 32}; }),
      "m/model.safetensors: tensor 'model.layers.1.self_attn.k_proj.weight' is [64, 32], but config.json "
      "(hidden_size: 64, num_key_value_heads: 2, head_dim: 16) asks for [32, 64]");
  EXPECT_EQ(of_directory("tiny_gqa_llama3rope", [](EditableModel& m) { m.config["vocab_size"] = 300; }),
            "m/model.safetensors: tensor 'model.embed_tokens.weight' is [256, 64], but config.json (vocab_size: 300) "
            "asks for [300, 64]");
  EXPECT_EQ(of_directory("tiny_qwen35", [](EditableModel& m) { m.config["linear_conv_kernel_dim"] = 3; }),
            "m/model.safetensors: tensor 'model.layers.0.linear_attn.conv1d.weight' is [160, 1, 4], but config.json "
            "(linear_conv_kernel_dim: 3) asks for [160, 1, 3]");
  EXPECT_EQ(of_directory("tiny_gptoss", [](EditableModel& m) { m.config["intermediate_size"] = 24; }),
            "m/model.safetensors: tensor 'model.layers.0.mlp.experts.gate_up_proj' is [5, 64, 64], but config.json "
            "(intermediate_size: 24) asks for [5, 48, 64]");
  EXPECT_EQ(
      of_file("tiny_gqa_llama3rope", "llama.attention.head_count_kv", 4),
      "m.gguf: tensor 'blk.0.attn_k.weight' is [32, 64], but the file's header (llama.attention.head_count_kv: 4, "
      "llama.attention.key_length: 16) asks for [64, 64]");
  EXPECT_EQ(of_file("tiny_qwen3moe", "qwen3moe.expert_count", 5),
            "m.gguf: tensor 'blk.0.ffn_gate_inp.weight' is [6, 64], but the file's header (qwen3moe.expert_count: 5) "
            "asks for [5, 64]");
}

}  // namespace
}  // namespace nibble
