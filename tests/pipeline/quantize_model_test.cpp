// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/quantize_model.h"
#include "kernels/chosen_isa.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/decoder.h"
#include "model/tokenizer/tokenizer.h"
#include "pipeline/models.h"
#include "pipeline/quantize/recipe_json.h"

namespace nibble {
namespace {

std::vector<float> logits_of(const std::filesystem::path& model, Machine& machine) {
  DecoderOptions options;
  options.kv = KvType::f32;  // in f16, a key's last bit would decide
  Decoder decoder(SourceModel::open(model), options, machine);
  KvCache cache = decoder.new_cache(16);
  const std::vector<std::int32_t> tokens = {3, 250, 17, 99, 42, 7, 128, 200};
  std::vector<float> logits(tokens.size() * decoder.config().vocab_size);
  decoder.forward(cache, tokens, LogitsFor::all, logits);
  return logits;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    norm += double(a[i]) * a[i];
  }
  return std::sqrt(difference / norm);
}

void expect_same_values(const SourceModel& a, const SourceModel& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const StoredTensor& tensor : a.tensors()) {
    const StoredTensor& other = b.tensor(tensor.name);
    EXPECT_EQ(tensor.shape, other.shape) << tensor.name;
    EXPECT_EQ(tensor.values.decode(), other.values.decode()) << tensor.name;
  }
}

class QuantizeModel : public ::testing::Test {
 protected:
  Machine machine_{chosen_isa(), 2};
  ScratchDirectory scratch_;
};

TEST_F(QuantizeModel, SurvivesTheWayToGgufAndBack) {
  for (const auto& model : {kGroupedModel, kTiedModel}) {
    const auto gguf = scratch_ / (model.filename().string() + ".gguf"),
               back = scratch_ / (model.filename().string() + "-back");
    quantize_to(model, "f32", gguf, machine_);
    quantize_to(gguf, "f32", back, machine_);
    expect_same_values(SourceModel::open(model), SourceModel::open(back));
    // The same function in both containers, though q and k rows lie in another order in one of them: products of
    // reordered heads are sums of 16 and 24 terms in another order, a few units of f32's last place.
    const std::vector<float> original = logits_of(model, machine_);
    EXPECT_LT(relative_distance(original, logits_of(gguf, machine_)), 1e-5) << model;
    EXPECT_EQ(original, logits_of(back, machine_)) << model;
  }
}

TEST_F(QuantizeModel, PermutesTheRowsOfQAndKInGguf) {
  quantize_to(kGroupedModel, "f32", scratch_ / "m.gguf", machine_);
  const SourceModel hf = SourceModel::open(kGroupedModel), gguf = SourceModel::open(scratch_ / "m.gguf");
  const std::vector<float> from = hf.tensor("model.layers.1.self_attn.k_proj.weight").values.decode(),
                           to = gguf.tensor("blk.1.attn_k.weight").values.decode();
  // Heads of 16: row s * 8 + i of a head goes to row 2i + s.
  constexpr std::size_t kHeads = 2, kHalf = 8, kCols = 64;
  for (std::size_t head = 0; head < kHeads; ++head)
    for (std::size_t s = 0; s < 2; ++s)
      for (std::size_t i = 0; i < kHalf; ++i)
        for (std::size_t c = 0; c < kCols; ++c)
          ASSERT_EQ(to[(head * 16 + 2 * i + s) * kCols + c], from[(head * 16 + s * kHalf + i) * kCols + c]);
  EXPECT_EQ(hf.tensor("model.layers.1.self_attn.v_proj.weight").values.decode(),
            gguf.tensor("blk.1.attn_v.weight").values.decode());
  // Llama 3's rope scaling has no key in GGUF; it lies in a tensor.
  EXPECT_EQ(gguf.tensor("rope_freqs.weight").shape, Shape{8});
}

TEST_F(QuantizeModel, GivesTheSameBytesForAnyNumberOfThreads) {
  std::string gguf, planar;
  for (std::size_t threads = 1; threads <= 4; ++threads) {
    Machine machine(chosen_isa(), threads);
    const std::string number = std::to_string(threads);
    quantize_to(kGroupedModel, "q8_0", scratch_ / ("m" + number + ".gguf"), machine);
    quantize_to(kGroupedModel, "int4:g32:asym", scratch_ / ("m" + number), machine);
    const std::string file = read_text(scratch_ / ("m" + number + ".gguf")),
                      weights = read_text(scratch_ / ("m" + number) / "model.safetensors");
    if (threads == 1) {
      gguf = file;
      planar = weights;
    }
    EXPECT_GT(file.size(), 10000u);
    EXPECT_TRUE(file == gguf) << threads;
    EXPECT_TRUE(weights == planar) << threads;
  }
}

// Codes of 64 rows at once: the same bytes for any number of threads, the same numbers where a source has rows in
// another order, and the same products on every instruction set.
TEST_F(QuantizeModel, TilesOfRowsAreWrittenAndRun) {
  std::string first;
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    Machine machine(chosen_isa(), threads);
    const std::filesystem::path out = scratch_ / ("m" + std::to_string(threads));
    quantize_to(kGroupedModel, "trellis5:l12", out, machine);
    const std::string weights = read_text(out / "model.safetensors");
    if (threads == 1) first = weights;
    EXPECT_TRUE(weights == first) << threads;
  }
  quantize_to(kGroupedModel, "f32", scratch_ / "m.gguf", machine_);
  quantize_to(scratch_ / "m.gguf", "trellis5:l12", scratch_ / "again", machine_);
  expect_same_values(SourceModel::open(scratch_ / "m1"), SourceModel::open(scratch_ / "again"));
  const std::vector<float> logits = logits_of(scratch_ / "m1", machine_);
  Machine reference(Isa::scalar, 1);
  EXPECT_EQ(logits, logits_of(scratch_ / "m1", reference));
  EXPECT_LT(relative_distance(logits_of(kGroupedModel, machine_), logits), 0.2);  // of random weights
}

// Outliers are counted, lie in planes of their own, are read back and multiplied with, by any number of threads and on
// every instruction set; another copy of them has the same bytes.
TEST_F(QuantizeModel, OutliersAreWrittenAndRun) {
  const std::string format = "int3:g32+outliers:2%";
  std::string first;
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    Machine machine(chosen_isa(), threads);
    const std::filesystem::path out = scratch_ / ("m" + std::to_string(threads));
    quantize_to(kGroupedModel, format, out, machine);
    const std::string weights = read_text(out / "model.safetensors");
    if (threads == 1) first = weights;
    EXPECT_TRUE(weights == first) << threads;
  }
  quantize_to(kGroupedModel, "int3:g32", scratch_ / "plain", machine_);
  const SourceModel plain = SourceModel::open(scratch_ / "plain"), beside = SourceModel::open(scratch_ / "m1");
  const StoredTensor &a = plain.tensor("model.layers.0.mlp.up_proj.weight"),
                     &b = beside.tensor("model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(b.type_name, format);
  EXPECT_GT(b.bytes, a.bytes);
  const std::vector<float> logits = logits_of(scratch_ / "m1", machine_), original = logits_of(kGroupedModel, machine_);
  Machine reference(Isa::scalar, 1);
  EXPECT_EQ(logits, logits_of(scratch_ / "m1", reference));
  EXPECT_LT(relative_distance(original, logits),
            0.95 * relative_distance(original, logits_of(scratch_ / "plain", machine_)));
  quantize_to(scratch_ / "m1", "source", scratch_ / "copy", machine_);
  EXPECT_TRUE(read_text(scratch_ / "copy" / "model.safetensors") == first);
}

TEST_F(QuantizeModel, PlanarFormatsCoverTheLinearsOnly) {
  const QuantizeModelOptions options{
      .recipe = find_recipe("int4:g32"), .fit = FitOptions{.rule = FitRule::absmax}, .output = scratch_ / "out"};
  const QuantizeSummary summary = quantize_model(SourceModel::open(kTiedModel), options, machine_, {});
  const SourceModel out = SourceModel::open(scratch_ / "out");
  EXPECT_EQ(out.tensor("model.embed_tokens.weight").values.format()->name(), "f16");
  EXPECT_EQ(out.tensor("model.layers.0.mlp.up_proj.weight").values.format()->name(), "int4:g32");
  EXPECT_EQ(out.tensor("model.layers.0.input_layernorm.weight").values.format()->name(),
            "f16");  // as the source has it
  EXPECT_EQ(summary.substitutions, 0u);
  EXPECT_NEAR(summary.linear_bits_per_weight, 4.5, 0.2);  // rows of 72 have short last groups
  EXPECT_GT(summary.bits_per_weight, summary.linear_bits_per_weight);
  // Every weight is within half a step of its original: the largest magnitude of a group is 7.5 steps.
  const std::vector<float> a =
      SourceModel::open(kTiedModel).tensor("model.layers.0.mlp.up_proj.weight").values.decode();
  const std::vector<float> b = out.tensor("model.layers.0.mlp.up_proj.weight").values.decode();
  for (std::size_t row = 0; row < 128; ++row)
    for (std::size_t begin = 0; begin < 72; begin += 32) {
      float largest = 0;
      const std::size_t end = std::min<std::size_t>(72, begin + 32);
      for (std::size_t c = begin; c < end; ++c) largest = std::max(largest, std::fabs(a[row * 72 + c]));
      for (std::size_t c = begin; c < end; ++c)
        ASSERT_LE(std::fabs(a[row * 72 + c] - b[row * 72 + c]), largest / 7.5f * 0.51f);
    }
}

TEST_F(QuantizeModel, CountsSubstitutions) {
  const QuantizeSummary summary = quantize_to(kGroupedModel, "q4_k", scratch_ / "m.gguf", machine_);
  // Rows of 64 and 96 hold no blocks of 256; all 16 matrices fall back.
  EXPECT_EQ(summary.substitutions, 16u);
  EXPECT_EQ(SourceModel::open(scratch_ / "m.gguf").tensor("blk.0.attn_q.weight").values.format()->name(), "q5_0");
  EXPECT_EQ(
      describe_substitutions(summary),
      "16 of 21 tensors, 99.7 % of parameters, are not q4_k because their rows do not fit its blocks: q4_k became "
      "q5_0 in 16 (64 is not a multiple of 256)");
}

TEST_F(QuantizeModel, MixesChooseByLayerAndSizesAddUp) {
  const auto model = small_synth(scratch_, machine_.pool);
  const QuantizeSummary summary = quantize_to(model, "q4_k_m", scratch_ / "m.gguf", machine_);
  const SourceModel gguf = SourceModel::open(scratch_ / "m.gguf");
  EXPECT_EQ(gguf.tensor("token_embd.weight").values.format()->name(), "q6_k");  // the head, too
  EXPECT_EQ(gguf.tensor("blk.1.attn_v.weight").values.format()->name(), "q6_k");
  EXPECT_EQ(gguf.tensor("blk.0.attn_v.weight").values.format()->name(), "q4_k");
  EXPECT_EQ(gguf.tensor("blk.0.attn_norm.weight").values.format()->name(), "f32");
  EXPECT_EQ(gguf.gguf().unsigned_integer("general.file_type"), 15u);
  EXPECT_EQ(summary.output_bytes, std::filesystem::file_size(scratch_ / "m.gguf"));
  std::uint64_t total = 0;
  for (const TensorSummary& tensor : summary.tensors) total += tensor.bytes;
  EXPECT_EQ(total, summary.tensor_bytes);

  QuantizeModelOptions dry{.recipe = find_recipe("q4_k_m"), .dry_run = true};
  EXPECT_EQ(quantize_model(SourceModel::open(model), dry, machine_, {}).tensor_bytes, summary.tensor_bytes);
}

TEST_F(QuantizeModel, OverridesEmbeddingAndHead) {
  QuantizeModelOptions options{
      .recipe = find_recipe("int4:g32"), .embedding = "int8:row", .head = "f32", .output = scratch_ / "out"};
  quantize_model(SourceModel::open(kGroupedModel), options, machine_, {});
  const SourceModel out = SourceModel::open(scratch_ / "out");
  EXPECT_EQ(out.tensor("model.embed_tokens.weight").values.format()->name(), "int8:row");
  EXPECT_EQ(out.tensor("lm_head.weight").values.format()->name(), "f32");
}

TEST_F(QuantizeModel, TheManifestSaysWhatWasDone) {
  quantize_to(kGroupedModel, "q8_0", scratch_ / "a.gguf", machine_);
  quantize_to(kGroupedModel, "int8:row", scratch_ / "b", machine_);
  const auto a = nlohmann::json::parse(*SourceModel::open(scratch_ / "a.gguf").gguf().string("nibble.manifest"));
  const auto b = nlohmann::json::parse(read_text(scratch_ / "b" / "nibble_manifest.json"));
  EXPECT_EQ(a["recipe"]["name"], "q8_0");
  EXPECT_EQ(b["recipe"]["name"], "int8:row");
  EXPECT_EQ(a["source"], b["source"]);
  EXPECT_EQ(a["source"]["xxh3"].get<std::string>().size(), 16u);
  const std::string text = a.dump();
  EXPECT_EQ(text.find(scratch_.path().string()), std::string::npos);
  EXPECT_EQ(text.find("tiny_gqa"), std::string::npos);

  const std::string weights = read_text(scratch_ / "b" / "model.safetensors");
  EXPECT_EQ(b["files"],
            nlohmann::json({{{"name", "model.safetensors"},
                             {"bytes", weights.size()},
                             {"xxh3", fmt::format("{:016x}", XXH3_64bits(weights.data(), weights.size()))}}}));
  EXPECT_FALSE(a.contains("files"));

  const auto edited = edited_copy(kGroupedModel, "model.norm.weight", scratch_ / "edited",
                                  [](std::span<float> values) { values[3] += 0.5f; });
  quantize_to(edited, "q8_0", scratch_ / "c.gguf", machine_);
  const auto c = nlohmann::json::parse(*SourceModel::open(scratch_ / "c.gguf").gguf().string("nibble.manifest"));
  EXPECT_NE(a["source"]["xxh3"], c["source"]["xxh3"]);
}

// A directory's tokenizer stays with its weights, of whatever kind it is.
TEST_F(QuantizeModel, ADirectoryKeepsItsSmallFiles) {
  std::filesystem::copy(kTiedModel, scratch_ / "m");
  std::vector<std::string> names = Tokenizer::file_names();
  names.insert(names.end(), {"generation_config.json", "LICENSE"});
  const auto text_of = [](const std::string& name) {
    if (name == "generation_config.json") return std::string(R"({"eos_token_id": 1})");
    const std::filesystem::path real = std::filesystem::path(NIBBLE_SOURCE_DIR "/tests/data/tale-4M") / name;
    return name.starts_with("tokenizer") && std::filesystem::exists(real) ? read_text(real) : "text of " + name;
  };
  for (const std::string& name : names) scratch_.write("m/" + name, text_of(name));
  scratch_.write("m/notes.txt", "nothing of the model");
  quantize_to(scratch_ / "m", "int8:row", scratch_ / "q", machine_);
  for (const std::string& name : names) EXPECT_EQ(read_text(scratch_ / "q" / name), text_of(name));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "q/notes.txt"));
}

TEST_F(QuantizeModel, AQuantizedModelMayBecomeFloatAgain) {
  quantize_to(kGroupedModel, "q8_0", scratch_ / "q.gguf", machine_);
  quantize_to(scratch_ / "q.gguf", "f32", scratch_ / "f.gguf", machine_);
  expect_same_values(SourceModel::open(scratch_ / "q.gguf"), SourceModel::open(scratch_ / "f.gguf"));
  quantize_to(scratch_ / "q.gguf", "q8_0", scratch_ / "again.gguf", machine_);  // nothing is rounded twice
  expect_same_values(SourceModel::open(scratch_ / "q.gguf"), SourceModel::open(scratch_ / "again.gguf"));
}

TEST_F(QuantizeModel, ReportsProgressToItsEnd) {
  std::uint64_t last = 0, total = 0;
  QuantizeModelOptions options{.recipe = find_recipe("q8_0"), .output = scratch_ / "m.gguf"};
  const QuantizeSummary summary =
      quantize_model(SourceModel::open(kGroupedModel), options, machine_, [&](const Progress& p) {
        EXPECT_EQ(p.stage, "quantize");
        EXPECT_GE(p.done, last);
        last = p.done;
        total = p.total;
        return true;
      });
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, summary.parameters);
}

TEST_F(QuantizeModel, WeightsBeyondTheScalesGetAnotherFormatThatIsCounted) {
  struct Case {
    const char* format;
    const char* output;
    float factor;
    const char* got;
  };
  for (const Case& test : {Case{"q4_0", "out.gguf", 1e7F, "bf16"}, Case{"q8_0", "out.gguf", 1e-7F, "bf16"},
                           Case{"int4:g32", "out", 1e8F, "int4:g32:f32"}}) {
    const auto model = edited_copy(kGroupedModel, "model.layers.1.mlp.up_proj.weight",
                                   scratch_ / ("for-" + std::string(test.format)), [&](std::span<float> values) {
                                     for (float& value : values) value *= test.factor;
                                   });
    const QuantizeSummary summary = quantize_to(model, test.format, scratch_ / test.output, machine_);
    EXPECT_EQ(summary.substitutions, 1u);
    const auto changed = std::ranges::find(summary.tensors, Obstacle::magnitude, &TensorSummary::obstacle);
    ASSERT_NE(changed, summary.tensors.end()) << test.format;
    EXPECT_EQ(changed->format, test.got);
    EXPECT_EQ(changed->wanted, test.format);
    const std::string expected =
        fmt::format("are not {} because their weights are too large or too small for its scales: {} became {} in 1",
                    test.format, test.format, test.got);
    EXPECT_NE(describe_substitutions(summary).find(expected), std::string::npos) << describe_substitutions(summary);
    const SourceModel made = SourceModel::open(scratch_ / test.output);
    const std::vector<float> stored = made.tensor(changed->name).values.decode();
    const std::vector<float> wanted =
        SourceModel::open(model).tensor("model.layers.1.mlp.up_proj.weight").values.decode();
    double power = 0, lost = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      power += std::pow(static_cast<double>(wanted[i]), 2);
      lost += std::pow(static_cast<double>(wanted[i]) - static_cast<double>(stored[i]), 2);
    }
    EXPECT_LT(std::sqrt(lost / power), 0.12) << test.format;
  }
}

// Whose scales end early, since there is none of the whole tensor: said and counted as for any other format.
TEST_F(QuantizeModel, WhatNvfp4CannotHoldIsCounted) {
  const std::filesystem::path tale = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";
  const auto model =
      edited_copy(tale, "model.layers.1.mlp.up_proj.weight", scratch_ / "small", [](std::span<float> values) {
        for (float& value : values) value *= 1e-3F;
      });
  EXPECT_EQ(quantize_to(tale, "nvfp4", scratch_ / "out.gguf", machine_).substitutions, 0u);
  const QuantizeSummary summary = quantize_to(model, "nvfp4", scratch_ / "out.gguf", machine_);
  EXPECT_EQ(summary.substitutions, 1u);
  const std::string text = describe_substitutions(summary);
  const std::string expected =
      "are not nvfp4 because their weights are too large or too small for its scales: nvfp4 became q4_0 in 1";
  EXPECT_NE(text.find(expected), std::string::npos) << text;
}

TEST_F(QuantizeModel, MixesChooseByWhetherThereAreStatistics) {
  const SourceModel source = SourceModel::open(kTiedModel);
  Statistics statistics;
  QuantizeModelOptions options{.recipe = recipe_from_json(R"({"name": "r", "rules": [
    {"tensors": "*.ffn_down.weight", "when": "importance", "format": "q8_0"}, {"tensors": "*", "when": "no importance", "format": "f16"},
    {"tensors": "*", "format": "bf16"}]})",
                                                          "r"),
                               .dry_run = true};
  const auto format_of_down = [&] {
    for (const TensorSummary& tensor : quantize_model(source, options, machine_, {}).tensors)
      if (tensor.kind == "down") return tensor.format;
    return std::string();
  };
  EXPECT_EQ(format_of_down(), "f16");
  options.calibration.statistics = &statistics;
  EXPECT_EQ(format_of_down(), "f16") << "nearest values do not look at them";
  options.method = "imatrix";
  EXPECT_EQ(format_of_down(), "q8_0");
  options.calibration.statistics = nullptr;
  options.calibration.texts = {{"t", "text"}};
  EXPECT_EQ(format_of_down(), "q8_0");
}

}  // namespace
}  // namespace nibble
