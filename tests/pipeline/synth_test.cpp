// SPDX-License-Identifier: Apache-2.0
#include "pipeline/synth.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include "engine/decoder.h"
#include "model/tokenizer/tokenizer.h"
#include "pipeline/models.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

SynthShape tiny_shape() {
  return {.name = "tiny",
          .hidden = 32,
          .intermediate = 64,
          .layers = 2,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 8,
          .vocab = 300,
          .context = 64};
}

TEST(Synth, WritesAModelThatRuns) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  for (const char* architecture : {"llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3"}) {
    SynthShape shape = tiny_shape();
    shape.architecture = architecture;
    const SynthSummary summary =
        synthesize_model(shape, {.output = scratch / architecture, .dtype = "f16"}, machine.pool, {});
    const SourceModel checkpoint = SourceModel::open(scratch / architecture);
    EXPECT_EQ(describe_model(checkpoint).parameters, summary.parameters);
    EXPECT_EQ(checkpoint.config().architecture, architecture);
    Decoder decoder(checkpoint, {}, machine);
    KvCache cache = decoder.new_cache(8);
    std::vector<float> logits(300);
    const std::vector<std::int32_t> tokens = {1, 70, 71};
    EXPECT_NO_THROW(decoder.forward(cache, tokens, LogitsFor::last, logits));
    EXPECT_NE(logits[0], logits[1]);
  }
}

TEST(Synth, ItsTokenizerReadsAnyText) {
  ScratchDirectory scratch;
  ThreadPool pool(2);
  synthesize_model(tiny_shape(), {.output = scratch / "m"}, pool, {});
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(SourceModel::open(scratch / "m"));
  EXPECT_EQ(tokenizer.vocab_size(), 300u);
  const std::string text = "Tom's 7 caf\u00e9s \u683c";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text), true), text);
  EXPECT_EQ(tokenizer.encode("a"), (std::vector<std::int32_t>{1, 259, 3 + 'a'}));
}

TEST(Synth, TheSameSeedGivesTheSameBytesOnAnyNumberOfThreads) {
  ScratchDirectory scratch;
  std::string first;
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    ThreadPool pool(threads);
    const auto out = scratch / ("m" + std::to_string(threads));
    synthesize_model(tiny_shape(), {.output = out}, pool, {});
    const std::string weights = read_text(out / "model.safetensors");
    if (threads == 1) first = weights;
    EXPECT_TRUE(weights == first) << threads;
  }
  ThreadPool pool(1);
  synthesize_model(tiny_shape(), {.output = scratch / "other", .seed = 2}, pool, {});
  EXPECT_FALSE(read_text(scratch / "other" / "model.safetensors") == first);
}

TEST(Synth, WeightsLookNormal) {
  ScratchDirectory scratch;
  ThreadPool pool(2);
  SynthShape shape = tiny_shape();
  shape.vocab = 4000;
  synthesize_model(shape, {.output = scratch / "m"}, pool, {});
  const SourceModel checkpoint = SourceModel::open(scratch / "m");
  const TensorStatistics s = measure_statistics(checkpoint, checkpoint.tensor("model.embed_tokens.weight"), pool);
  // 128000 samples: the deviation of the mean is 0.02 / sqrt(128000) = 6e-5, that of the deviation about 0.2 %.
  EXPECT_NEAR(s.mean, 0, 3e-4);
  EXPECT_NEAR(s.deviation, 0.02, 2e-4);
  EXPECT_NEAR(s.kurtosis, 2.7, 0.1);  // a sum of four uniform numbers: 3 - 1.2 / 4
}

// Parameters of the released models, from their model cards' weights.
TEST(Synth, NamedShapesHaveTheRealNumberOfParameters) {
  const auto parameters = [](const char* name) {
    const SynthShape s = find_synth_shape(name);
    const std::uint64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    std::uint64_t layer = s.hidden * q * 2 + s.hidden * kv * 2 + 3 * s.hidden * s.intermediate + 2 * s.hidden;
    if (s.architecture == "qwen2") layer += q + 2 * kv;
    if (s.architecture == "qwen3") layer += 2 * s.head_dim;
    return layer * s.layers + s.hidden + s.vocab * s.hidden * (s.tied ? 1 : 2);
  };
  EXPECT_EQ(parameters("llama-3.2-1b"), 1235814400u);
  EXPECT_EQ(parameters("llama-3.2-3b"), 3212749824u);
  EXPECT_EQ(parameters("llama-3.1-8b"), 8030261248u);
  EXPECT_EQ(parameters("qwen2.5-0.5b"), 494032768u);
  EXPECT_EQ(parameters("qwen2.5-7b"), 7615616512u);
  EXPECT_EQ(parameters("qwen3-0.6b"), 596049920u);
  EXPECT_EQ(parameters("qwen3-8b"), 8190735360u);
}

TEST(Synth, RefusesShapesThatNoModelHas) {
  ScratchDirectory scratch;
  ThreadPool pool(1);
  const auto error = [&](auto change) {
    SynthShape shape = tiny_shape();
    change(shape);
    return error_of([&] { synthesize_model(shape, {.output = scratch / "m"}, pool, {}); });
  };
  EXPECT_EQ(error([](SynthShape& s) { s.kv_heads = 3; }),
            "the number of heads must be a multiple of the number of key/value heads: 4 and 3");
  EXPECT_EQ(error([](SynthShape& s) { s.vocab = 100; }),
            "the shape's vocabulary must lie between 260 and 1048576: 100");
  EXPECT_EQ(error([](SynthShape& s) { s.head_dim = 7; }), "the head size must be even: 7");
  EXPECT_EQ(error([](SynthShape& s) { s.hidden = std::uint64_t{1} << 60; }),
            "the shape's hidden size must lie between 1 and 131072: 1152921504606846976");
  std::string known = error_of([] { find_synth_shape("llama-9"); });
  for (const SynthShape& s : list_synth_shapes()) {
    EXPECT_NE(known.find(s.name), std::string::npos) << s.name;
    EXPECT_EQ(find_synth_shape(s.name).architecture, s.architecture);
  }
  EXPECT_TRUE(known.starts_with("unknown shape 'llama-9'; known are llama-3.2-1b, ")) << known;
  EXPECT_EQ(scratch.num_entries(), 0u);
}

}  // namespace
}  // namespace nibble
