// SPDX-License-Identifier: Apache-2.0
//
// Models whose Linears are rounded for rotated inputs: quantized, read, run, converted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/convert/convert_model.h"
#include "pipeline/models.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

std::string some_text() {
  Random random(3);
  std::string text;
  for (int i = 0; i < 6000; ++i) text += static_cast<char>(random.below(6) == 0 ? ' ' : 'a' + random.below(26));
  return text;
}

const std::vector<std::int32_t> kIds = {5, 17, 90, 3, 42, 42, 8, 11, 7, 60, 61, 2};

class RotatedModel : public testing::Test {
 protected:
  QuantizeModelOptions request(const std::string& format, const std::string& method, const std::string& output,
                               const std::string& transform = "hadamard") {
    QuantizeModelOptions result;
    choose_format(result, format);
    result.method = method;
    result.transform = transform;
    result.output = scratch_ / output;
    if (method != "rtn") result.calibration.texts = {{"text", some_text()}};
    result.calibration.sampling = {.samples = 16, .length = 64, .seed = 0};
    return result;
  }
  QuantizeSummary quantize(const std::filesystem::path& model, const QuantizeModelOptions& options,
                           std::size_t threads = 2) {
    Machine machine(chosen_isa(), threads);
    return quantize_model(SourceModel::open(model), options, machine, {});
  }
  std::vector<float> logits_of(const std::filesystem::path& model, ActivationMode mode = ActivationMode::f32,
                               const std::vector<std::int32_t>& ids = kIds) {
    Decoder decoder(SourceModel::open(model), {.kernels = {.activations = mode}, .kv = KvType::f32, .progress = {}},
                    machine_);
    return all_logits(decoder, ids);
  }
  // Of logits, relative to the first: the median over tokens, for where a router is in doubt any change sends one
  // elsewhere.
  static double distance(const std::vector<float>& a, const std::vector<float>& b) {
    std::vector<double> distances;
    for (std::size_t begin = 0, width = a.size() / kIds.size(); begin < a.size(); begin += width) {
      double difference = 0, norm = 0;
      for (std::size_t i = begin; i < begin + width; ++i) {
        difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
        norm += std::pow(static_cast<double>(a[i]), 2);
      }
      distances.push_back(std::sqrt(difference / norm));
    }
    std::ranges::sort(distances);
    return distances[distances.size() / 2];
  }
  std::string bytes_of(const std::string& output) { return read_text(scratch_ / output / "model.safetensors"); }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

TEST_F(RotatedModel, EveryFamilyComputesNearlyTheSame) {
  for (const std::string family :
       {"tiny_gqa_llama3rope", "tiny_tied",          "tiny_qwen2",   "tiny_qwen3",   "tiny_phi3",     "tiny_gemma2",
        "tiny_gemma3",         "tiny_glm4",          "tiny_glm4moe", "tiny_mixtral", "tiny_qwen3moe", "tiny_qwen35",
        "tiny_gptoss",         "tiny_gemma4_moe",    "tiny_bitnet",  "tiny_smollm3", "tiny_olmo2",    "tiny_olmoe",
        "tiny_granite",        "tiny_granitemoe",    "tiny_ernie45", "tiny_hunyuan", "tiny_qwen2moe", "tiny_lfm2",
        "tiny_deepseek2",      "tiny_deepseek2_lite"}) {
    const std::filesystem::path model = data_directory() / family;
    const std::vector<float> original = logits_of(model);
    quantize(model, request("int8:row", "rtn", family + "-plain", "none"));
    quantize(model, request("int8:row", "rtn", family));
    const double plain = distance(original, logits_of(scratch_ / (family + "-plain")));
    EXPECT_LT(distance(original, logits_of(scratch_ / family)), 3 * plain) << family;
    // Integers of rotated inputs, too.
    EXPECT_LT(
        distance(original, logits_of(scratch_ / family, ActivationMode::automatic)),
        3 * std::max(plain, distance(original, logits_of(scratch_ / (family + "-plain"), ActivationMode::automatic))))
        << family;
  }
}

TEST_F(RotatedModel, LinearsRecordTheirTransformAndNothingElseHasOne) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool);
  quantize(model, request("trellis2:l8", "rtn", "out"));
  const SourceModel source = SourceModel::open(scratch_ / "out");
  for (const ModelTensor& part : source.parts().all()) {
    const StoredTensor& stored = source.stored(part);
    if (part.role != TensorRole::linear) {
      EXPECT_EQ(stored.values.parts(), nullptr) << stored.name;
      continue;
    }
    ASSERT_NE(stored.values.parts(), nullptr) << stored.name;
    EXPECT_EQ(parts_of(*stored.values.parts()), std::vector{TensorPart::input_transform});
    EXPECT_EQ(stored.values.parts()->input_transform.name(), "hadamard256");
    EXPECT_EQ(stored.values.parts()->input_transform.signs.size(), stored.values.cols());
  }
  bool is_listed = false;
  for (const TensorListing& tensor : list_tensors(source)) {
    const bool is_linear = tensor.name.find("_proj") != std::string::npos;
    EXPECT_EQ(tensor.parts,
              is_linear ? std::vector<std::string>{"input transform hadamard256"} : std::vector<std::string>{})
        << tensor.name;
    is_listed = is_listed || is_linear;
  }
  EXPECT_TRUE(is_listed);
}

// With the same bytes on any number of threads, and as near as what is rounded for inputs as they come.
TEST_F(RotatedModel, FeedbackRoundsForRotatedInputsInEitherWalk) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  const std::vector<float> original = logits_of(model);
  for (const WalkArithmetic walk : {WalkArithmetic::f32, WalkArithmetic::int8})
    for (const char* method : {"gptq", "descent", "imatrix"}) {
      QuantizeModelOptions options = request("int3:g64", method, "one");
      options.calibration.walk = walk;
      quantize(model, options, 1);
      options.output = scratch_ / "three";
      quantize(model, options, 3);
      EXPECT_EQ(bytes_of("one"), bytes_of("three")) << method;
      options.transform = "none";
      options.output = scratch_ / "plain";
      quantize(model, options, 3);
      EXPECT_NE(bytes_of("one"), bytes_of("plain")) << method;
      EXPECT_LT(distance(original, logits_of(scratch_ / "one")),
                1.25 * distance(original, logits_of(scratch_ / "plain")))
          << method;
    }
}

TEST_F(RotatedModel, WhatCannotRecordOrUseItRefuses) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  const auto refusal = [&](const QuantizeModelOptions& options) {
    return error_of([&] { quantize(model, options); }).second;
  };
  EXPECT_EQ(refusal(request("q4_0", "rtn", "out.gguf")),
            "the container gguf cannot record that inputs are rotated; write the container nibble, or leave the "
            "transform out: 'blk.0.attn_q.weight'");
  QuantizeModelOptions options = request("int4:g32", "rtn", "gptq");
  options.container = "gptq";
  EXPECT_NE(refusal(options).find("the container gptq cannot record that inputs are rotated"), std::string::npos);
  const Statistics statistics;
  options = request("int8:row+a8:static", "rtn", "static");
  options.calibration.statistics = &statistics;
  EXPECT_NE(refusal(options).find("statistics tell ranges of inputs as they come"), std::string::npos);
  EXPECT_NE(refusal(request("int4:g32", "blockwise", "learn")).find("a matrix whose inputs are rotated"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.gguf"));
}

// With more to do at once, what goes into the weights for good is the same.
TEST_F(RotatedModel, FeedbackRoundsWhatIsRotatedForGood) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  const std::vector<float> original = logits_of(model);
  for (const char* const format : {"int3:g64", "e8p2"}) {
    quantize(model, request(format, "gptq", "one", "hadamard:fold"), 1);
    quantize(model, request(format, "gptq", "three", "hadamard:fold"), 3);
    EXPECT_EQ(bytes_of("one"), bytes_of("three")) << format;
    quantize(model, request(format, "rtn", "nearest", "hadamard:fold"));
    EXPECT_NE(bytes_of("one"), bytes_of("nearest")) << format;
    quantize(model, request(format, "gptq", "plain", "none"));
    EXPECT_LT(distance(original, logits_of(scratch_ / "one")), 1.25 * distance(original, logits_of(scratch_ / "plain")))
        << format;
  }
}

// A channel that is thirty times larger takes a static grid for itself, and does not where inputs are rotated before
// they are rounded: the grids are those of rotated inputs.
TEST_F(RotatedModel, StaticGridsAreOfRotatedInputs) {
  constexpr std::size_t kCols = 128, kLarge = 5;
  const std::filesystem::path plain = small_synth(scratch_, machine_.pool, kCols);
  const std::filesystem::path model =
      edited_copy(plain, scratch_ / "large", [&](const std::string& tensor, std::span<float> values) {
        const auto is = [&](const char* part) { return tensor.find(part) != std::string::npos; };
        if (is("input_layernorm") || is("post_attention_layernorm")) values[kLarge] *= 30;
        if (is("q_proj") || is("k_proj") || is("v_proj") || is("gate_proj") || is("up_proj"))
          for (std::size_t row = 0; row < values.size() / kCols; ++row) values[row * kCols + kLarge] /= 30;
      });
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    if (std::filesystem::exists(plain / file)) std::filesystem::copy_file(plain / file, model / file);
  // Tokens that calibration meets, too.
  std::vector<std::int32_t> ids = SourceModel::open(model).tokenizer().encode(some_text());
  ids.resize(kIds.size());
  const auto lost_by_inputs = [&](const std::filesystem::path& output) {
    return distance(logits_of(output, ActivationMode::f32, ids), logits_of(output, ActivationMode::automatic, ids));
  };
  const auto make = [&](const std::string& transform, std::size_t threads) {
    QuantizeModelOptions options = request("int8:row+a8:static", "rtn", transform + "-static", transform);
    options.calibration.texts = {{"text", some_text()}};
    quantize(model, options, threads);
    return options.output;
  };
  const double turned = lost_by_inputs(make("hadamard", 2));
  EXPECT_LT(turned, 0.5 * lost_by_inputs(make("none", 2)));
  const std::string bytes = bytes_of("hadamard-static");
  make("hadamard", 3);
  EXPECT_EQ(bytes_of("hadamard-static"), bytes);
  // Quantized already, grids are fitted to what its Linears round.
  QuantizeModelOptions again = request("source+a8:static", "rtn", "again", "none");
  again.calibration.texts = {{"text", some_text()}};
  quantize(scratch_ / "hadamard-static", again);
  EXPECT_LT(lost_by_inputs(again.output), 1.5 * turned);
}

TEST_F(RotatedModel, ConversionsCopyIt) {
  const std::filesystem::path model = small_synth(scratch_, machine_.pool, 128);
  quantize(model, request("int4:g64", "rtn", "out"));
  convert_model(SourceModel::open(scratch_ / "out"), {.output = scratch_ / "copy", .container = "nibble"}, machine_,
                {});
  EXPECT_EQ(logits_of(scratch_ / "copy"), logits_of(scratch_ / "out"));
  const auto to_gguf = [&](bool lossy) {
    convert_model(SourceModel::open(scratch_ / "out"), {.output = scratch_ / "out.gguf", .lossy = lossy}, machine_, {});
  };
  EXPECT_NE(error_of([&] { to_gguf(false); }).second.find("the container gguf does not keep (input transform)"),
            std::string::npos);
  to_gguf(true);  // the numbers themselves, rounded once more
  EXPECT_LT(distance(logits_of(scratch_ / "out"), logits_of(scratch_ / "out.gguf")), 0.3);
}

}  // namespace
}  // namespace nibble
