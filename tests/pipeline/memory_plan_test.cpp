// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/memory_plan.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include "nibble/error.h"
#include "pipeline/models.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/synth.h"

namespace nibble {
namespace {

const PlannedWeights& weights_of(const MemoryPlan& plan, std::string_view format) {
  for (const PlannedWeights& weights : plan.formats)
    if (weights.format == format) return weights;
  throw std::runtime_error("not planned");
}

// 32 layers, 8 key/value heads of 128: 2 * 32 * 8 * 128 = 65536 numbers a token.
TEST(MemoryPlan, CacheOfANamedShapeByHand) {
  const MemoryPlan plan = plan_memory({.model = "llama-3.1-8b", .memory = 24'000'000'000, .context = 8192});
  EXPECT_EQ(plan.parameters, 8'030'261'248u);
  EXPECT_EQ(plan.scaled, 1);
  EXPECT_EQ(plan.cache_bytes_per_token[0], 131072u);
  EXPECT_EQ(plan.cache_bytes[0], 8192u * 131072u);
  EXPECT_EQ(plan.cache_bytes[1], 8192u * 65536u / 32 * 34);
  EXPECT_EQ(plan.cache_bytes[2], 8192u * 65536u / 32 * 18);
  // Norms, 65 of 4096, are f32 in a GGUF file.
  EXPECT_EQ(weights_of(plan, "f16").bytes, 2 * 8'030'261'248u + 2u * 65 * 4096);
  // The embedding, 128256 x 4096, is looked up and not read through.
  EXPECT_EQ(weights_of(plan, "f16").bytes - weights_of(plan, "f16").bytes_per_token, 2u * 128256 * 4096);
}

// Five of six layers of Gemma 3 see 512 (1B) or 1024 positions: they keep that and a batch of 512, in
// pages of 256.
TEST(MemoryPlan, WindowsBoundTheirLayers) {
  const MemoryPlan near = plan_memory({.model = "gemma-3-1b", .memory = 24'000'000'000, .context = 16384}),
                   far = plan_memory({.model = "gemma-3-1b", .memory = 24'000'000'000, .context = 32768});
  const std::uint64_t layer = near.cache_bytes_per_token[0] / near.layers;
  const std::uint64_t full = near.layers / 6, kept = 5 * 256;  // 511 + 512 positions touch so many
  EXPECT_EQ(near.cache_bytes[0], layer * (full * 16384 + (near.layers - full) * kept));
  EXPECT_EQ(far.cache_bytes[0] - near.cache_bytes[0], layer * full * 16384);
}

// 18 of 24 layers of Qwen 3.5 0.8B keep 16 matrices of 128 x 128 and three tokens of 6144 channels, in f32, whatever
// the context; six keep keys and values, 2 heads of 256.
TEST(MemoryPlan, RecurrentStatesHaveOneSize) {
  const MemoryPlan near = plan_memory({.model = "qwen3.5-0.8b", .memory = 24'000'000'000, .context = 1024}),
                   far = plan_memory({.model = "qwen3.5-0.8b", .memory = 24'000'000'000, .context = 2048});
  EXPECT_EQ(near.recurrent_bytes, 4u * 18 * (16 * 128 * 128 + 3 * 6144));
  EXPECT_EQ(far.recurrent_bytes, near.recurrent_bytes);
  EXPECT_EQ(near.cache_bytes[0], near.recurrent_bytes + 1024u * 6 * 2 * 512 * 2);
  EXPECT_EQ(near.saved_bytes, 2 * near.recurrent_bytes);  // a chat goes back to two points
  EXPECT_EQ(near.usable(), near.memory - near.headroom - near.activations - near.saved_bytes);
  EXPECT_EQ(far.cache_bytes[0], near.recurrent_bytes + 2048u * 6 * 2 * 512 * 2);
}

TEST(MemoryPlan, ASizeTakesTheNearestShape) {
  const MemoryPlan plan = plan_memory({.model = "70B", .memory = 24'000'000'000, .bandwidth = 60e9});
  EXPECT_EQ(plan.shape, "llama-3.1-70b");
  EXPECT_EQ(plan.scaled, 1);  // within a twentieth
  EXPECT_EQ(plan.parameters, 70'553'706'496u);
  const MemoryPlan between = plan_memory({.model = "20B", .memory = 24'000'000'000});
  EXPECT_EQ(between.parameters, 20'000'000'000u);
  EXPECT_EQ(between.shape, "qwen2.5-14b");
  EXPECT_NEAR(weights_of(between, "q8_0").bits_per_weight, 8.5, 0.01);
  EXPECT_EQ(weights_of(between, "q8_0").fastest, 0);  // bandwidth is not known
}

TEST(MemoryPlan, BandwidthBoundsTheSpeed) {
  const MemoryPlan plan = plan_memory({.model = "llama-3.1-8b", .memory = 24'000'000'000, .bandwidth = 60e9});
  const PlannedWeights& weights = weights_of(plan, "q8_0");
  EXPECT_DOUBLE_EQ(weights.fastest, 60e9 / static_cast<double>(weights.bytes_per_token));
  EXPECT_DOUBLE_EQ(weights.fastest_full, 60e9 / static_cast<double>(weights.bytes_per_token + plan.cache_bytes[1]));
}

TEST(MemoryPlan, SuggestsTheMostBitsThatFit) {
  MemoryPlanRequest request{.model = "llama-3.1-8b", .memory = 24'000'000'000};
  EXPECT_EQ(plan_memory(request).formats[*plan_memory(request).best].format, "f16");
  request.memory = 12'000'000'000;
  request.formats = {"f16", "q8_0", "q4_k_m"};
  EXPECT_EQ(plan_memory(request).formats[*plan_memory(request).best].format, "q8_0");
  request.memory = 1'000'000'000;
  EXPECT_FALSE(plan_memory(request).best);
  for (const PlannedWeights& weights : plan_memory(request).formats) EXPECT_FALSE(weights.fits.back());
  // A long context fits only when the cache is quantized.
  const MemoryPlan tight =
      plan_memory({.model = "llama-3.1-8b", .memory = 11'000'000'000, .context = 16384, .formats = {"q8_0"}});
  ASSERT_TRUE(tight.best);
  EXPECT_FALSE(tight.formats[0].fits[0]);
  EXPECT_TRUE(tight.formats[0].fits[1]);
  EXPECT_EQ(tight.best_cache, 1u);
}

TEST(MemoryPlan, LongestContextIsTheLastThatFits) {
  MemoryPlanRequest request{.model = "llama-3.1-8b", .memory = 12'000'000'000, .formats = {"q4_k_m"}};
  const std::uint64_t longest = plan_memory(request).formats[0].longest[0];
  request.context = longest;
  EXPECT_TRUE(plan_memory(request).formats[0].fits[0]);
  request.context = longest + 64;
  EXPECT_FALSE(plan_memory(request).formats[0].fits[0]);
}

// For a model at hand the bytes are those that quantize writes.
TEST(MemoryPlan, IsExactForACheckpoint) {
  const std::string path = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";
  Machine machine(chosen_isa(), 1);
  const SourceModel source = SourceModel::open(path);
  for (const char* format : {"q8_0", "q4_k_m", "int4:g32", "int8:row", "q3_k_m"}) {
    const MemoryPlan plan = plan_memory({.model = path, .memory = 1'000'000'000, .formats = {format}});
    const QuantizeSummary summary =
        quantize_model(source, {.recipe = find_recipe(format), .dry_run = true}, machine, {});
    EXPECT_EQ(plan.formats[0].bytes, summary.tensor_bytes) << format;
    EXPECT_EQ(plan.parameters, summary.parameters);
    EXPECT_EQ(plan.context, 512u);
    EXPECT_TRUE(plan.formats[0].fits[0]);
  }
}

// What makes keys and values of a latent vector is run in f32 where it is quantized.
TEST(MemoryPlan, CountsWhatIsWidenedToBeRun) {
  const std::string path = NIBBLE_SOURCE_DIR "/tests/data/tiny_deepseek2";
  const SourceModel source = SourceModel::open(path);
  const ModelConfig& c = source.config();
  Machine machine(chosen_isa(), 1);
  const QuantizeSummary summary = quantize_model(source, {.recipe = find_recipe("q8_0"), .dry_run = true}, machine, {});
  const std::uint64_t rows = c.layers * c.heads * (c.plain_key_dim + c.value_dim);
  const MemoryPlan plan = plan_memory({.model = path, .memory = 1'000'000'000, .formats = {"q8_0"}});
  EXPECT_EQ(plan.formats[0].bytes,
            summary.tensor_bytes + 4 * rows * c.latent - plane_bytes(*find_format("q8_0"), rows, c.latent));
  EXPECT_DOUBLE_EQ(plan.formats[0].bits_per_weight,
                   8 * static_cast<double>(summary.tensor_bytes) / static_cast<double>(summary.parameters));
}

TEST(MemoryPlan, RefusalsSayWhatIsWrong) {
  const auto refusal = [](const MemoryPlanRequest& request) {
    try {
      plan_memory(request);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal({.model = "8B"}), "no memory is given");
  EXPECT_EQ(refusal({.model = "12", .memory = 1}).substr(0, 64),
            "'12' is neither a model's directory or file, nor a size such as ");
  EXPECT_EQ(refusal({.model = "1K", .memory = 1}), "a model has at least a million parameters: '1K'");
  EXPECT_EQ(refusal({.model = "8B", .memory = 1, .context = 1 << 25}),
            "a context has at most 16777216 tokens: 33554432");
}

}  // namespace
}  // namespace nibble
