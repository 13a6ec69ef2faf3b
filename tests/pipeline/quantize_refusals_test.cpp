// SPDX-License-Identifier: Apache-2.0
//
// What quantize_model refuses, in which words, and that nothing is left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/chosen_isa.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

class QuantizeRefuses : public ::testing::Test {
 protected:
  std::string error(const std::filesystem::path& model, QuantizeModelOptions options) {
    return error_of([&] { quantize_model(SourceModel::open(model), options, machine_, {}); });
  }
  Machine machine_{chosen_isa(), 2};
  ScratchDirectory scratch_;
};

TEST_F(QuantizeRefuses, WeightsThatAreNoNumbers) {
  const auto model = edited_copy(kGroupedModel, "model.layers.1.mlp.up_proj.weight", scratch_ / "nan",
                                 [](std::span<float> values) { values[64 * 5 + 9] = std::nanf(""); });
  for (const char* output : {"out.gguf", "out"}) {
    const std::string expected =
        "model.safetensors: tensor 'model.layers.1.mlp.up_proj.weight' holds NaN, which no format can store; repair or "
        "retrain the model: row 5, column 9";
    EXPECT_EQ(error(model, {.recipe = find_recipe("q8_0"), .output = scratch_ / output}), expected);
    EXPECT_EQ(scratch_.num_entries(), 1u);  // the model alone
  }
}

TEST_F(QuantizeRefuses, ARowOfQIsNamedAsTheSourceHasIt) {
  const auto model = edited_copy(kGroupedModel, "model.layers.0.self_attn.q_proj.weight", scratch_ / "nan",
                                 [](std::span<float> values) { values[64 * 9 + 2] = INFINITY; });
  EXPECT_EQ(error(model, {.recipe = find_recipe("q8_0"), .output = scratch_ / "out.gguf"}),
            "model.safetensors: tensor 'model.layers.0.self_attn.q_proj.weight' holds an infinite value, which no "
            "format can store; repair or retrain the "
            "model: row 9, column 2");
}

TEST_F(QuantizeRefuses, PlanarFormatsInGguf) {
  EXPECT_EQ(error(kGroupedModel, {.recipe = find_recipe("int4:g32"), .output = scratch_ / "out.gguf"}),
            "int4:g32 for 'blk.0.attn_q.weight' (recipe 'int4:g32'): a GGUF file cannot hold planar formats; write to "
            "a directory (an output name without .gguf), or choose a block format such as q4_k");
}

// A window that is shorter than the context and that llama.cpp does not know is a loss of a GGUF file, not of a
// directory.
TEST_F(QuantizeRefuses, WindowsThatLlamaCppLeavesOutWhereStrict) {
  const auto note = [](const std::string& window) {
    return "llama.cpp knows no sliding window of this family: texts of more than " + window +
           " tokens give something else there than here";
  };
  const std::filesystem::path data = NIBBLE_SOURCE_DIR "/tests/data";
  for (const auto& [name, window] : {std::pair("tiny_mistral", "9"), std::pair("tiny_phi3", "15")}) {
    QuantizeModelOptions options{.recipe = find_recipe("q8_0"), .output = scratch_ / "out.gguf"};
    const QuantizeSummary summary = quantize_model(SourceModel::open(data / name), options, machine_, {});
    EXPECT_NE(std::ranges::find(summary.notes, note(window)), summary.notes.end()) << name;
    options.strict = true;
    EXPECT_EQ(error(data / name, options), note(window)) << name;
    options.output = scratch_ / name;
    options.recipe = find_recipe("int8:g32");
    EXPECT_EQ(error(data / name, options), "no error") << name;
  }
  // llama.cpp slides these.
  QuantizeModelOptions options{.recipe = find_recipe("f32"), .output = scratch_ / "gemma.gguf"};
  for (const std::string& text : quantize_model(SourceModel::open(data / "tiny_gemma2"), options, machine_, {}).notes)
    EXPECT_EQ(text.find("sliding window"), std::string::npos) << text;
}

TEST_F(QuantizeRefuses, RoundingTwice) {
  quantize_to(kGroupedModel, "q8_0", scratch_ / "q.gguf", machine_);
  QuantizeModelOptions options{.recipe = find_recipe("q4_0"), .output = scratch_ / "again.gguf"};
  EXPECT_EQ(error(scratch_ / "q.gguf", options),
            "q.gguf: tensor 'token_embd.weight' is quantized already, and rounding it again adds to its loss; start "
            "from the original model, have these numbers in another container (nibble convert), or insist: q8_0 to "
            "q4_0");
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "again.gguf"));
  options.allow_requantize = true;
  EXPECT_EQ(error(scratch_ / "q.gguf", options), "no error");
}

// What would be copied is read first: an output that cannot be read again is none.
TEST_F(QuantizeRefuses, DamagedFilesBesideTheWeights) {
  const std::filesystem::path model = scratch_ / "m";
  std::filesystem::copy(kTiedModel, model);
  for (const char* const name : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(std::filesystem::path(NIBBLE_SOURCE_DIR "/tests/data/tale-4M") / name, model / name);
  const QuantizeModelOptions options{.recipe = find_recipe("int8:row"), .output = scratch_ / "out"};
  const auto expect_refused = [&](const char* name, const std::string& text, const std::string& message) {
    scratch_.write(std::string("m/") + name, text);
    EXPECT_EQ(error(model, options), (model / name).string() + ": " + message);
    EXPECT_EQ(scratch_.num_entries(), 1u);  // the model alone
  };
  const char* const generation = "generation_config.json";
  expect_refused(generation, R"({"eos_token_id": 100000000000000000000})", "eos_token_id: an integer is expected here");
  expect_refused(generation, R"({"eos_token_id": [1, 18446744073709551615]})",
                 "eos_token_id[1]: an integer is expected here");
  expect_refused(generation, R"({"eos_token_id": 1, "eos_token_id": 2})",
                 "JSON has the key 'eos_token_id' a second time at offset 20");
  scratch_.write(std::string("m/") + generation, "{}");
  expect_refused("tokenizer_config.json", "{", "text is not JSON at offset 1");
  std::filesystem::remove(model / "tokenizer.json");  // without a tokenizer nobody reads them
  EXPECT_EQ(error(model, options), "no error");
}

TEST_F(QuantizeRefuses, SubstitutionsWhenStrict) {
  EXPECT_EQ(error(kGroupedModel, {.recipe = find_recipe("q4_k"), .output = scratch_ / "out.gguf", .strict = true}),
            "q4_k cannot hold tensor 'token_embd.weight', whose rows are not multiples of 256: 64 columns");
}

TEST_F(QuantizeRefuses, WeightsBeyondTheScalesWhenStrict) {
  for (const float factor : {1e7F, 1e-8F}) {
    const auto model = edited_copy(kGroupedModel, "model.layers.1.mlp.up_proj.weight",
                                   scratch_ / (factor > 1 ? "large" : "small"), [factor](std::span<float> values) {
                                     for (float& value : values) value *= factor;
                                   });
    for (const bool dry : {true, false}) {
      const std::string message = error(
          model, {.recipe = find_recipe("q4_0"), .output = scratch_ / "out.gguf", .strict = true, .dry_run = dry});
      EXPECT_NE(
          message.find(
              "q4_0 cannot hold tensor 'blk.1.ffn_up.weight', whose weights are too large or too small for its scales"),
          std::string::npos)
          << message;
    }
  }
}

// Rounded inputs need weights that are integers on a grid.
TEST_F(QuantizeRefuses, InputsThatNoKernelWouldRound) {
  const auto request = [&](const std::string& format) {
    QuantizeModelOptions options{.output = scratch_ / "out"};
    choose_format(options, format);
    return options;
  };
  for (const char* format : {"fp8:row+a8:g32", "fp6:g32+a8", "table4:row+a8:token"})
    EXPECT_NE(error(kGroupedModel, request(format))
                  .find("inputs are rounded where weights are integers on a grid, and these are multiplied in f32"),
              std::string::npos)
        << format << ": " << error(kGroupedModel, request(format));
  QuantizeModelOptions mixed = request("int4:g32+a8:g32");
  mixed.recipe.rules.insert(mixed.recipe.rules.begin(), {"*.ffn_down.weight", {}, "fp8:row", {}});
  const QuantizeSummary summary = quantize_model(SourceModel::open(kGroupedModel), mixed, machine_, {});
  ASSERT_EQ(summary.warnings.size(), 1u);
  EXPECT_EQ(summary.warnings[0],
            "weights in these formats are multiplied in f32, and their inputs are not rounded: fp8:row");
}

TEST_F(QuantizeRefuses, ToReplaceTheModelItReads) {
  const std::filesystem::path copy = scratch_ / "copy";
  std::filesystem::copy(kGroupedModel, copy);
  EXPECT_EQ(error(copy, {.recipe = find_recipe("f16"), .output = copy}),
            "the output would take the place of the model that is read; choose another name: " + copy.string());
  quantize_to(copy, "f32", scratch_ / "m.gguf", machine_);
  EXPECT_EQ(error(scratch_ / "m.gguf", {.recipe = find_recipe("f16"), .output = scratch_ / "m.gguf"}),
            "the output would take the place of the model that is read; choose another name: " +
                (scratch_ / "m.gguf").string());
}

TEST_F(QuantizeRefuses, TwoFormatsForATiedMatrix) {
  EXPECT_EQ(error(kTiedModel,
                  {.recipe = find_recipe("int4:g32"), .embedding = "q8_0", .head = "f16", .output = scratch_ / "out"}),
            "this model's embedding is its head, too, and can have one format only; give one of the two: q8_0 and f16");
}

TEST_F(QuantizeRefuses, TilesOfRowsThatAreLookedUp) {
  EXPECT_EQ(
      error(kTiedModel, {.recipe = find_recipe("trellis2"), .embedding = "trellis4:l12", .output = scratch_ / "out"}),
      "trellis4:l12 codes 64 rows together, and an embedding is looked up by rows; choose a format with codes for "
      "each, such as int4:g128 or q4_k, for 'model.embed_tokens.weight'");
  EXPECT_EQ(error(kTiedModel, {.recipe = find_recipe("trellis2"), .output = scratch_ / "out.gguf"}),
            "trellis2:l8 for 'blk.0.attn_q.weight' (recipe 'trellis2:l8'): a GGUF file cannot hold trellises; write to "
            "a directory (an output name without .gguf), of which nibble convert makes a file with the same numbers in "
            "q8_0, or choose a block format such as q4_k");
  const std::string lattice = error(kTiedModel, {.recipe = find_recipe("e8p2"), .output = scratch_ / "out.gguf"});
  EXPECT_NE(lattice.find("a GGUF file cannot hold lattices; write to a directory"), std::string::npos) << lattice;
}

TEST_F(QuantizeRefuses, OutliersWhereNothingHoldsThem) {
  for (const char* container : {"gguf", "gptq", "awq", "compressed-tensors", "bitsandbytes"}) {
    const std::string why = error(kGroupedModel, {.recipe = find_recipe("int4:g32+outliers:1%"),
                                                  .output = scratch_ / (std::string("out-") + container),
                                                  .container = container});
    EXPECT_EQ(why.find("int4:g32+outliers:1% for '"), 0u) << container << ": " << why;
    const bool is_file = container == std::string_view("gguf");
    EXPECT_EQ(why.find("holds no outliers; ") == std::string::npos, is_file) << why;
  }
  for (const auto& [format, ending] :
       {std::pair{"int4:g32+outliers:1%", "the container gptq holds no outliers; int4:g32 would do"},
        {"int4:g32+sparse:2:4", "the container gptq holds no masks of zeros; int4:g32 would do"},
        {"f16+sparse:2:4", "the container gptq holds no masks of zeros; f16 would do"}}) {
    const std::string why =
        error(kGroupedModel, {.recipe = find_recipe(format), .output = scratch_ / "out", .container = "gptq"});
    EXPECT_TRUE(why.ends_with(ending)) << why;
  }
}

TEST_F(QuantizeRefuses, OutputsThatCannotBe) {
  EXPECT_EQ(error(kTiedModel, {.recipe = find_recipe("f16")}), "no output is named");
  EXPECT_NE(error(kTiedModel, {.recipe = find_recipe("f16"), .output = scratch_ / "x.safetensors"})
                .find("leave the extension away"),
            std::string::npos);
  EXPECT_NE(error(kTiedModel, {.recipe = find_recipe("f16"), .output = scratch_ / "missing" / "x.gguf"}), "no error");
  EXPECT_EQ(error(kTiedModel, {.recipe = find_recipe("f16"), .method = "magic", .output = scratch_ / "x.gguf"}),
            "unknown method 'magic'; known are rtn, mse, imatrix, table, awq, smoothquant, gptq, descent, signround, "
            "blockwise");
  EXPECT_EQ(scratch_.num_entries(), 0u);
}

TEST_F(QuantizeRefuses, TensorsOfTheWrongShape) {
  std::filesystem::copy(kTiedModel, scratch_ / "m");
  std::string config = read_text(kTiedModel / "config.json");
  config.replace(config.find("\"intermediate_size\": 128"), 24, "\"intermediate_size\": 130");
  scratch_.write("m/config.json", config);
  EXPECT_EQ(error(scratch_ / "m", {.recipe = find_recipe("f16"), .output = scratch_ / "x.gguf"}),
            (scratch_ / "m/model.safetensors").string() +
                ": tensor 'model.layers.0.mlp.gate_proj.weight' is [128, 72], but config.json (intermediate_size: 130) "
                "asks for [130, 72]");
}

TEST_F(QuantizeRefuses, ToGoOnWhenCancelled) {
  for (const char* output : {"out.gguf", "out"}) {
    const QuantizeModelOptions options{.recipe = find_recipe("f16"), .output = scratch_ / output};
    EXPECT_EQ(error_of([&] {
                quantize_model(SourceModel::open(kTiedModel), options, machine_, [](const Progress&) { return false; });
              }),
              "quantize was cancelled; nothing was written");
    EXPECT_EQ(scratch_.num_entries(), 0u);
  }
}

}  // namespace
}  // namespace nibble
