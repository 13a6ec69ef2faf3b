// SPDX-License-Identifier: Apache-2.0
//
// Models that say how their inputs are rounded: written, read back, run, converted and copied.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "calibrate/calibrate.h"
#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "model/arch/architecture.h"
#include "model/stored_activations.h"
#include "pipeline/models.h"
#include "quantize/fit/activation_fit.h"
#include "quantize/fit/fit_rule.h"

namespace nibble {
namespace {

const std::filesystem::path kTale = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";

QuantizeModelOptions options_for(const std::string& format, const std::filesystem::path& output) {
  QuantizeModelOptions options;
  choose_format(options, format);
  options.output = output;
  options.calibration.sampling = {.samples = 4, .length = 64};
  return options;
}

Calibration with_text(Calibration calibration) {
  std::ifstream file(kTale / "calibration.txt");
  std::string text(200000, ' ');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  calibration.texts = {{"calibration.txt", text}};
  return calibration;
}

std::vector<float> logits_of(const std::filesystem::path& model, const KernelOptions& kernels, Machine& machine) {
  const SourceModel checkpoint = SourceModel::open(model);
  Decoder decoder(checkpoint, {.kernels = kernels, .kv = KvType::f32}, machine);
  KvCache cache = decoder.new_cache(8);
  const std::vector<std::int32_t> tokens = {1, 5, 9, 200, 31, 77, 12, 3};
  std::vector<float> logits(tokens.size() * decoder.config().vocab_size);
  decoder.forward(cache, tokens, LogitsFor::all, logits);
  return logits;
}

std::string error_text(const std::string& format, const std::filesystem::path& output, Machine& machine) {
  return error_of([&] { quantize_model(SourceModel::open(kTale), options_for(format, output), machine, {}); });
}

TEST(StaticActivations, AreStoredWithTheModelAndComeBack) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  for (const char* format : {"int8:row+a8:static:asym", "q8_0+a8:static:asym", "int4:g32+a8:static"}) {
    const bool gguf = std::string(format).starts_with("q8");
    const auto output = scratch / (gguf ? "out.gguf" : format);
    QuantizeModelOptions options = options_for(format, output);
    options.activations->fit = find_fit("percentile:99.9");
    options.calibration = with_text(options.calibration);
    const QuantizeSummary summary = quantize_model(SourceModel::open(kTale), options, machine, {});
    EXPECT_EQ("+" + summary.activations, std::string(format).substr(std::string(format).find('+')));

    // The grids are those of the source's sites.
    const SourceModel source = SourceModel::open(kTale), made = SourceModel::open(output);
    const CalibrationTokens tokens = choose_windows(options.calibration.texts, Tokenizer::from_checkpoint(source),
                                                    options.calibration.sampling, 1024);
    const Statistics statistics = collect_statistics(source, tokens, {.kernels = options.calibration.kernels}, machine);
    const StoredActivations stored = read_activations(made);
    ASSERT_TRUE(stored.format && *stored.format == options.activations->format) << format;
    const ModelTensors tensors(source.config());
    for (const char* part : {"q", "v", "o", "up", "down"})
      for (const std::int64_t layer : {0, 1}) {
        const std::string site = std::string(part) == "o"      ? "attention_out"
                                 : std::string(part) == "up"   ? "mlp_in"
                                 : std::string(part) == "down" ? "mlp_out"
                                                               : "attention_in";
        const ActivationGrid expected =
            fit_activation_grid(*statistics.find({layer, site}), *stored.format, options.activations->fit);
        const ActivationGrid* const grid = stored.find(tensors.part(part, layer)->name(spelling_of(made)));
        ASSERT_NE(grid, nullptr) << format << " " << part;
        EXPECT_EQ(*grid, expected) << format << " " << part;
      }
    // The embedding is the head here, and quantized in block formats only.
    EXPECT_EQ(stored.find(tensors.part("embedding", -1)->name(spelling_of(made))) != nullptr, gguf) << format;
  }
}

TEST(StaticActivations, LieInDirectoriesAsCompressedTensorsHasThem) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  QuantizeModelOptions options = options_for("int8:row+a8:static:asym", scratch / "out");
  options.calibration = with_text(options.calibration);
  quantize_model(SourceModel::open(kTale), options, machine, {});
  const SourceModel made = SourceModel::open(scratch / "out");
  const auto config = nlohmann::json::parse(made.config_json());
  EXPECT_EQ(config["quantization_config"]["input_activations"],
            nlohmann::json::parse(R"({"num_bits": 8, "type": "int", "symmetric": false,
                                                                                         "strategy": "tensor", "dynamic": false})"));
  const StoredTensor& scale = made.tensor("model.layers.0.self_attn.q_proj.input_scale");
  EXPECT_EQ(scale.type_name, "F32");
  EXPECT_EQ(scale.shape, (Shape{1}));
  const StoredTensor& zero = made.tensor("model.layers.0.self_attn.q_proj.input_zero_point");
  EXPECT_EQ(zero.type_name, "I8");
  EXPECT_EQ(zero.shape, (Shape{1}));
}

// The engine runs with what the file says, unless it is told otherwise.
TEST(StaticActivations, DecideHowTheModelRuns) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  std::vector<float> plain, token;
  for (const char* format :
       {"int8:row", "int8:row+a8", "int8:row+a8:token", "int8:row+a8:static", "int8:row+a8:static:asym"}) {
    const auto output = scratch / format;
    QuantizeModelOptions options = options_for(format, output);
    options.calibration = with_text(options.calibration);
    quantize_model(SourceModel::open(kTale), options, machine, {});
    const auto own = logits_of(output, {}, machine),
               dynamic = logits_of(output, {.activations = ActivationMode::int8}, machine);
    if (plain.empty()) {
      plain = own;
      token = logits_of(
          output, {.activations = ActivationMode::int8, .activation_format = {ActivationGrain::token, false}}, machine);
    }
    EXPECT_EQ(dynamic, plain) << format;
    if (std::string(format) == "int8:row+a8") {  // what a file that says nothing is run with
      EXPECT_EQ(own, plain);
    } else if (std::string(format) == "int8:row+a8:token") {
      EXPECT_EQ(own, token);
    } else if (std::string(format).find("static") != std::string::npos) {
      EXPECT_NE(own, plain) << format;
      double difference = 0, norm = 0;
      for (std::size_t i = 0; i < own.size(); ++i) {
        difference += std::pow(static_cast<double>(own[i] - plain[i]), 2);
        norm += std::pow(static_cast<double>(plain[i]), 2);
      }
      EXPECT_LT(difference, 5e-2 * norm) << format;  // still the same model
    }
  }
}

// q and k rows are in another order in GGUF files, and grids belong to inputs: the same model computes the same.
TEST(StaticActivations, SurviveCopiesAndAreReplacedOrDropped) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  QuantizeModelOptions options = options_for("q8_0+a8:static", scratch / "a.gguf");
  options.calibration = with_text(options.calibration);
  quantize_model(SourceModel::open(kTale), options, machine, {});
  // Added afterwards to weights that are there: the same file, but for its record.
  quantize_to(kTale, "q8_0", scratch / "weights.gguf", machine);
  EXPECT_FALSE(read_activations(SourceModel::open(scratch / "weights.gguf")).format);
  options = options_for("source+a8:static", scratch / "b.gguf");
  options.calibration = with_text(options.calibration);
  quantize_model(SourceModel::open(scratch / "weights.gguf"), options, machine, {});
  const SourceModel b = SourceModel::open(scratch / "b.gguf");
  EXPECT_EQ(read_activations(b).grids.size(), read_activations(SourceModel::open(scratch / "a.gguf")).grids.size());
  EXPECT_NE(logits_of(scratch / "b.gguf", {}, machine), logits_of(scratch / "weights.gguf", {}, machine));
  for (const StoredTensor& tensor : b.tensors())
    EXPECT_TRUE(std::ranges::equal(tensor.data, SourceModel::open(scratch / "weights.gguf").tensor(tensor.name).data))
        << tensor.name;
  // Another format in their place; none.
  quantize_to(scratch / "b.gguf", "source+a8:token", scratch / "c.gguf", machine);
  EXPECT_EQ(read_activations(SourceModel::open(scratch / "c.gguf")).format->grain, ActivationGrain::token);
  quantize_to(scratch / "b.gguf", "source", scratch / "d.gguf", machine);
  EXPECT_FALSE(read_activations(SourceModel::open(scratch / "d.gguf")).format);
}

// smoothquant divides what the norms put out, so the grids must be those of the smoothed model: its largest inputs are
// smaller.
TEST(StaticActivations, FollowScalesThatAreFoldedAway) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const auto twin = edited_copy(kTale, "model.layers.0.input_layernorm.weight", scratch / "twin",
                                [](std::span<float> weight) { weight[3] *= 60; });
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) std::filesystem::copy(kTale / name, twin / name);
  const auto scale_with = [&](const char* method, const char* output) {
    QuantizeModelOptions options = options_for("int8:row+a8:static", scratch / output);
    options.method = method;
    options.activations->fit = find_fit("absmax");
    options.calibration = with_text(options.calibration);
    quantize_model(SourceModel::open(twin), options, machine, {});
    return read_activations(SourceModel::open(scratch / output)).find("model.layers.0.self_attn.q_proj.weight")->scale;
  };
  const float plain = scale_with("rtn", "plain"), smooth = scale_with("smoothquant", "smooth");
  EXPECT_LT(smooth, 0.5f * plain);
  EXPECT_FALSE(std::filesystem::exists(scratch / "smooth.weights"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "smooth.weights.work"));
  // Weights lie beside the output meanwhile, and what is read does not make place for them.
  const std::filesystem::path source = scratch / "p.weights";
  std::filesystem::copy(twin, source);
  QuantizeModelOptions options = options_for("int8:row+a8:static", scratch / "p");
  options.method = "smoothquant";
  options.calibration = with_text(options.calibration);
  EXPECT_NE(error_of([&] {
              quantize_model(SourceModel::open(source), options, machine, {});
            }).find("would take the place of the model that is read"),
            std::string::npos);
  EXPECT_NO_THROW(SourceModel::open(source));
}

TEST(StaticActivations, RefuseWhatCannotBe) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 1);
  EXPECT_NE(error_text("int8:row+a8:static", scratch / "a", machine).find("give it text"), std::string::npos);
  EXPECT_NE(error_text("f16+a8", scratch / "b.gguf", machine).find("weights are quantized"), std::string::npos);
  EXPECT_NE(error_text("int8:row+a7", scratch / "c", machine).find("a8:token"), std::string::npos);
  // Statistics of the source say nothing about smoothed inputs.
  QuantizeModelOptions options = options_for("int8:row+a8:static", scratch / "d");
  const Statistics statistics;
  options.method = "smoothquant";
  options.calibration.statistics = &statistics;
  EXPECT_NE(error_of([&] { quantize_model(SourceModel::open(kTale), options, machine, {}); }).find("give it text"),
            std::string::npos);
}

// Files that say something else than they should.
TEST(StaticActivations, BadFilesAreRefusedByName) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 1);
  const auto file_with = [&](const std::function<void(GgufMetadata&)>& edit) {
    GgufMetadata metadata = SourceModel::open(scratch / "good.gguf").gguf();
    edit(metadata);
    const auto writer = make_gguf_writer(scratch / "bad.gguf", metadata, {{"x", {1}, find_format("f32")}});
    QuantizedTensor one(find_format("f32"), 1, 1);
    writer->write_rows(0, one.view());
    writer->finish();
    return error_of([&] { read_activations(SourceModel::open(scratch / "bad.gguf")); });
  };
  quantize_to(kTale, "q8_0", scratch / "good.gguf", machine);
  const auto set = [](GgufMetadata& m, const char* format, std::vector<float> scales, std::vector<std::int32_t> zeros) {
    m.set("nibble.activations.format", GgufValue::of_string(format));
    m.set("nibble.activations.tensors", GgufValue::of_strings({"blk.0.attn_q.weight"}));
    m.set("nibble.activations.scales", GgufValue::of_f32s(scales));
    m.set("nibble.activations.zero_points", GgufValue::of_i32s(zeros));
  };
  EXPECT_EQ(file_with([&](GgufMetadata& m) { set(m, "a8:static", {0.5f}, {0}); }), "no error");
  EXPECT_NE(file_with([&](GgufMetadata& m) { set(m, "a9", {0.5f}, {0}); }).find("nibble.activations.format"),
            std::string::npos);
  EXPECT_NE(file_with([&](GgufMetadata& m) { set(m, "a8:static", {0.5f, 1}, {0}); }).find("same length"),
            std::string::npos);
  EXPECT_NE(file_with([&](GgufMetadata& m) { set(m, "a8:static", {-0.5f}, {0}); }).find("blk.0.attn_q.weight"),
            std::string::npos);
  EXPECT_NE(file_with([&](GgufMetadata& m) { set(m, "a8:static", {0.5f}, {3}); }).find("zero point"),
            std::string::npos);
  EXPECT_NE(file_with([&](GgufMetadata& m) { set(m, "a8:static:asym", {0.5f}, {128}); }).find("blk.0.attn_q.weight"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble
