// SPDX-License-Identifier: Apache-2.0
//
// How finely inputs are rounded: stored with the model by its full name, and what it saves where a few columns are far
// larger than the rest.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "kernels/log_probabilities.h"
#include "model/stored_activations.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

const std::filesystem::path kTale = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";

TEST(ActivationGrains, AreStoredByTheirFullNames) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  for (const ActivationFormat format : activation_formats()) {
    if (format.is_static()) continue;  // static_activations_test.cpp
    const std::string name = activation_format_name(format);
    for (const std::string weights : {"int8:row", "q8_0"}) {
      const auto output = scratch / (weights + "-" + name + (weights == "q8_0" ? ".gguf" : ""));
      quantize_to(kTale, weights + "+" + name, output, machine);
      const StoredActivations stored = read_activations(SourceModel::open(output));
      ASSERT_TRUE(stored.format) << name;
      EXPECT_EQ(activation_format_name(*stored.format), name) << weights;
    }
  }
  quantize_to(kTale, "int8:row+a8", scratch / "short", machine);
  const auto config = nlohmann::json::parse(SourceModel::open(scratch / "short").config_json());
  EXPECT_EQ(config["quantization_config"]["input_activations"],
            nlohmann::json::parse(R"({"num_bits": 8, "type": "int", "symmetric": true,
      "strategy": "group", "group_size": 128, "dynamic": true, "wide_columns": true})"));
}

// Files from before formats had sizes: what they meant stays what they mean.
TEST(ActivationGrains, AFileThatSaysNoSizeMeansRunsOf128) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 1);
  quantize_to(kTale, "q8_0", scratch / "good.gguf", machine);
  GgufMetadata metadata = SourceModel::open(scratch / "good.gguf").gguf();
  metadata.set("nibble.activations.format", GgufValue::of_string("a8"));
  const auto writer = make_gguf_writer(scratch / "old.gguf", metadata, {{"x", {1}, find_format("f32")}});
  writer->write_rows(0, QuantizedTensor(find_format("f32"), 1, 1).view());
  writer->finish();
  const StoredActivations stored = read_activations(SourceModel::open(scratch / "old.gguf"));
  ASSERT_TRUE(stored.format);
  EXPECT_EQ(activation_format_name(*stored.format), "a8:g128");
}

// Mean Kullback-Leibler divergence of the predictions from those in f32 arithmetic, over some tokens.
double divergence(const std::filesystem::path& model, const KernelOptions& kernels, Machine& machine) {
  const SourceModel checkpoint = SourceModel::open(model);
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 96; ++i) tokens.push_back(1 + (i * 37 + i * i) % 1000);
  std::vector<float> logits[2];
  for (const bool is_exact : {true, false}) {
    KernelOptions own = kernels;
    if (is_exact) own.activations = ActivationMode::f32;
    Decoder decoder(checkpoint, {.kernels = own, .kv = KvType::f32}, machine);
    KvCache cache = decoder.new_cache(tokens.size());
    logits[is_exact ? 0 : 1].resize(tokens.size() * decoder.config().vocab_size);
    decoder.forward(cache, tokens, LogitsFor::all, logits[is_exact ? 0 : 1]);
  }
  const std::size_t vocabulary = logits[0].size() / tokens.size();
  double sum = 0;
  for (std::size_t t = 0; t < tokens.size(); ++t)
    sum += divergence_of_logits(&logits[0][t * vocabulary], &logits[1][t * vocabulary], vocabulary, machine.isa).kl;
  return sum / static_cast<double>(tokens.size());
}

// A twin of the model that computes the same, with channels of the norms and of the gated products a hundred times
// larger, as trained models of some size have them: with one scale for 128 columns the loss is many times the
// original's, with wide columns it hardly grows.
TEST(ActivationGrains, WideColumnsKeepAModelThatHasOutliers) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  constexpr std::size_t kFactor = 100, kStride = 150;  // one column of so many
  const auto is_large = [](std::size_t channel) { return channel % kStride == 7; };
  const std::size_t hidden = read_model_config(SourceModel::open(kTale)).hidden,
                    intermediate = read_model_config(SourceModel::open(kTale)).intermediate;
  const auto twin = edited_copy(kTale, scratch / "twin", [&](const std::string& name, std::span<float> values) {
    const auto ends_with = [&](const char* end) { return name.ends_with(end); };
    const auto scale_columns = [&](std::size_t cols) {
      for (std::size_t i = 0; i < values.size(); ++i)
        if (is_large(i % cols)) values[i] /= kFactor;
    };
    if (ends_with("input_layernorm.weight") || ends_with("post_attention_layernorm.weight")) {
      for (std::size_t i = 0; i < values.size(); ++i)
        if (is_large(i)) values[i] *= kFactor;
    } else if (ends_with("q_proj.weight") || ends_with("k_proj.weight") || ends_with("v_proj.weight") ||
               ends_with("gate_proj.weight")) {
      scale_columns(hidden);
    } else if (ends_with("up_proj.weight")) {
      scale_columns(hidden);
      for (std::size_t i = 0; i < values.size(); ++i)
        if (is_large(i / hidden)) values[i] *= kFactor;
    } else if (ends_with("down_proj.weight")) {
      scale_columns(intermediate);
    }
  });
  const KernelOptions plain{.activations = ActivationMode::int8, .activation_format = {ActivationGrain::run}};
  KernelOptions wide = plain;
  wide.activation_format = kDefaultActivations;
  quantize_to(kTale, "int8:row", scratch / "original-8", machine);
  quantize_to(twin, "int8:row", scratch / "twin-8", machine);
  const double original = divergence(scratch / "original-8", wide, machine);
  EXPECT_GT(divergence(scratch / "twin-8", plain, machine), 20 * original);
  EXPECT_LT(divergence(scratch / "twin-8", wide, machine), 3 * original);
}

}  // namespace
}  // namespace nibble
