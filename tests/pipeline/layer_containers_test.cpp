// SPDX-License-Identifier: Apache-2.0
//
// Directories of other programs: what is written from what they wrote is what they wrote, byte for byte; every format
// that one holds comes back with its numbers, and what it does not hold is refused before any work, with what would do.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "kernels/chosen_isa.h"
#include "pipeline/convert/convert_model.h"
#include "pipeline/convert/places.h"
#include "pipeline/convert/same_numbers.h"
#include "pipeline/convert/several_containers.h"
#include "pipeline/export/container.h"
#include "pipeline/models.h"
#include "quantize/recipe.h"

namespace nibble {
namespace {

class LayerContainers : public testing::Test {
 protected:
  std::filesystem::path quantized(const std::string& format, const std::string& container) {
    const std::filesystem::path output = scratch_ / ("q" + std::to_string(++count_));
    quantize_model(source_, request(format, container, output), machine_, {});
    return output;
  }
  static QuantizeModelOptions request(const std::string& format, const std::string& container,
                                      const std::filesystem::path& output = {}) {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.container = container;
    options.output = output;
    options.dry_run = output.empty();
    return options;
  }
  std::string refusal(const std::string& format, const std::string& container) {
    return error_of([&] { quantize_model(source_, request(format, container), machine_, {}); });
  }
  static nlohmann::json settings(const std::filesystem::path& directory) {
    return nlohmann::json::parse(SourceModel::open(directory).config_json()).at("quantization_config");
  }
  void expect_same(const std::filesystem::path& a, const std::filesystem::path& b) {
    const NumbersComparison result = compare_numbers(SourceModel::open(a), SourceModel::open(b), machine_.pool);
    EXPECT_TRUE(result.is_same()) << a << " " << b << ": " << (result.is_same() ? "" : result.differing.front().name);
    EXPECT_GT(result.numbers, 0u);
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_ = small_synth(scratch_, machine_.pool);
  SourceModel source_ = SourceModel::open(model_);
  int count_ = 0;
};

// Tensors by name as they lie in one file.
std::map<std::string, StoredTensor> tensors_of(const Checkpoint& file) {
  std::map<std::string, StoredTensor> tensors;
  for (const StoredTensor& tensor : file.tensors()) tensors.emplace(tensor.name, tensor);
  return tensors;
}

// Made by AutoAWQ's layout, GPTQModel, compressed-tensors, bitsandbytes and mlx-lm.
TEST_F(LayerContainers, WriteWhatTheirProgramsWrote) {
  struct Case {
    const char *directory, *container;
    std::vector<std::string> endings;  // of the tensors that hold codes
    bool all = true;                   // false: a matrix whose rows blocks do not divide has no place
  };
  const Case cases[] = {
      {"tiny_awq", "awq", {".qweight", ".qzeros", ".scales"}},
      {"tiny_qwen3moe_awq", "awq", {".qweight", ".qzeros", ".scales"}},
      {"tiny_qwen2_gptq_v2", "gptq_v2", {".qweight", ".qzeros", ".scales", ".g_idx"}},
      {"tiny_gptq", "gptq_v2", {".qweight", ".scales", ".g_idx"}},
      {"tiny_qwen3moe_gptq", "gptq_v2", {".qweight", ".scales"}},
      {"tiny_compressed_tensors", "compressed-tensors", {".weight_packed"}, false},
      {"tiny_qwen3moe_compressed", "compressed-tensors", {".weight_packed", ".weight_scale", ".weight_zero_point"}},
      {"tiny_qwen2_bitsandbytes", "bitsandbytes", {"proj.weight", ".absmax", ".quant_map"}},
      {"tiny_llm_int8", "bitsandbytes", {"up_proj.weight", ".SCB", ".weight_format"}, false},
      {"tiny_w8a8", "compressed-tensors", {"proj.weight", ".weight_scale", ".input_scale"}},
      {"tiny_mlx", "mlx", {"q_proj.weight", "o_proj.weight", ".biases"}, false}};
  for (const auto& [directory, container, endings, all] : cases) {
    SCOPED_TRACE(directory);
    const std::filesystem::path theirs = std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data" / directory,
                                ours = scratch_ / directory;
    const ConvertSummary summary =
        convert_model(SourceModel::open(theirs), {.output = ours, .container = container, .lossy = !all}, machine_, {});
    const auto rounded = std::ranges::count(summary.tensors, Conversion::rounded, &ConvertedTensor::conversion);
    EXPECT_TRUE(!all || rounded == 0) << rounded;
    const Checkpoint their_file = Checkpoint::open(theirs / "model.safetensors"),
                     our_file = Checkpoint::open(ours / "model.safetensors");
    const auto mine = tensors_of(our_file);
    std::size_t compared = 0;
    for (const auto& [name, tensor] : tensors_of(their_file)) {
      if (std::ranges::none_of(endings, [&](const std::string& ending) { return name.ends_with(ending); })) continue;
      const auto found = mine.find(name);
      if (found == mine.end() && !all) continue;
      ASSERT_NE(found, mine.end()) << name;
      EXPECT_EQ(found->second.type_name, tensor.type_name) << name;
      EXPECT_EQ(found->second.shape, tensor.shape) << name;
      EXPECT_TRUE(std::ranges::equal(found->second.data, tensor.data)) << name;
      ++compared;
    }
    EXPECT_GE(compared, 6u);
    if (all) expect_same(ours, theirs);
  }
}

TEST_F(LayerContainers, WhatTheyHoldComesBack) {
  const std::map<std::string, std::vector<std::string>> held = {
      {"gptq", {"int4:g128", "int4:g32", "int8:g64", "int2:g128", "int3:g32", "int4:row:f16", "int4:g64:bf16"}},
      {"gptq_v2", {"int4:g128:asym", "int8:g32:asym", "int4:g32"}},
      {"awq", {"int4:g128", "int4:g64:asym", "int4:row:f16"}},
      {"compressed-tensors",
       {"int4:g128", "int4:g32:asym", "int8:row", "int3:g64", "int6:g32", "int8:row+a8:token",
        "int8:g128:asym+a8:token", "int4:g128+a8:token", "fp8:row", "fp8:tensor", "fp8:block128x128", "mxfp4",
        "nvfp4"}},
      {"bitsandbytes", {"nf4:g64:f32", "fp4:g64:f32", "nf4:g128:f32", "nf4:g64:dq", "int8:row:amax"}},
      {"mlx",
       {"int2:g64:bias", "int3:g64:bias", "int4:g32:bias", "int5:g64:bias", "int6:g128:bias", "int8:g32:bias:bf16",
        "mxfp4", "nvfp4", "fp8:g32:e8m0"}}};
  for (const auto& [container, formats] : held)
    for (const std::string& format : formats) {
      SCOPED_TRACE(container + " " + format);
      QuantizeModelOptions planar = request(format, "nibble", scratch_ / "planar");
      if (!find_container(container).takes_codes(TensorRole::embedding)) planar.embedding = "source";
      quantize_model(source_, planar, machine_, {});
      expect_same(quantized(format, container), scratch_ / "planar");
    }
}

// LLM.int8 has scales that are a magnitude times 1/127: codes of int8:row are chosen for these.
TEST_F(LayerContainers, RowsOfBytesGetTheScalesThatLlmInt8Has) {
  const std::filesystem::path bytes = quantized("int8:row", "bitsandbytes");
  expect_same(bytes, quantized("int8:row:amax", "nibble"));
  EXPECT_EQ(settings(bytes).at("load_in_8bit"), true);
  EXPECT_EQ(settings(bytes).at("load_in_4bit"), false);
  for (const char* const container : {"compressed-tensors", "onnx"}) {
    const std::filesystem::path copy = scratch_ / container;
    const ConvertSummary made =
        convert_model(SourceModel::open(bytes), {.output = copy, .container = container}, machine_, {});
    EXPECT_TRUE(made.is_exact());
    expect_same(copy, bytes);
  }
  // Scales of its own kind are not all among them.
  const std::filesystem::path rows = quantized("int8:row", "nibble");
  EXPECT_NE(error_of([&] {
              convert_model(SourceModel::open(rows), {.output = scratch_ / "no", .container = "bitsandbytes"}, machine_,
                            {});
            }).find("have no place in the formats that are tried of the container bitsandbytes"),
            std::string::npos);
}

// mlx-lm reads experts from stacks, of which GGUF files have the like.
TEST_F(LayerContainers, ExpertsLieAsTheirProgramHasThem) {
  SynthShape shape = find_synth_shape("qwen3-30b-a3b");
  shape.hidden = shape.intermediate = shape.expert_intermediate = 64;
  shape.layers = 2;
  shape.heads = shape.num_experts = 4;
  shape.kv_heads = shape.experts_used = 2;
  shape.head_dim = 32;
  shape.vocab = 300;
  const std::filesystem::path experts = scratch_ / "sparse";
  synthesize_model(shape, {.output = experts}, machine_.pool, {});
  for (const auto& [container, format] : {std::pair("mlx", "int4:g32:bias"),
                                          {"mlx", "mxfp4"},
                                          {"gptq", "int4:g32"},
                                          {"compressed-tensors", "int8:row"},
                                          {"bitsandbytes", "nf4:g32:f32"}}) {
    SCOPED_TRACE(container);
    const std::filesystem::path output = scratch_ / (std::string("experts-") + container + format);
    const SourceModel source = SourceModel::open(experts);
    quantize_model(source, request(format, container, output), machine_, {});
    QuantizeModelOptions planar = request(format, "nibble", scratch_ / "planar");
    if (!find_container(container).takes_codes(TensorRole::embedding)) planar.embedding = planar.head = "source";
    quantize_model(source, planar, machine_, {});
    expect_same(output, scratch_ / "planar");
    convert_model(SourceModel::open(output), {.output = scratch_ / "back", .container = "nibble"}, machine_, {});
    expect_same(scratch_ / "back", output);
  }
  const auto names = tensors_of(Checkpoint::open(scratch_ / "experts-mlxint4:g32:bias" / "model.safetensors"));
  const auto stack = names.find("model.layers.0.mlp.switch_mlp.down_proj.scales");
  ASSERT_NE(stack, names.end());
  EXPECT_EQ(stack->second.shape.size(), 3u);
}

TEST_F(LayerContainers, SettingsSayWhatDiffers) {
  QuantizeModelOptions mixed = request("int4:g32", "gptq", scratch_ / "gptq");
  mixed.recipe.rules.insert(mixed.recipe.rules.begin(), {"*ffn_down*", {}, "int8:g64", {}});
  mixed.exclude = {"*layers.1.self_attn.k_proj*"};
  quantize_model(source_, mixed, machine_, {});
  const nlohmann::json gptq = settings(scratch_ / "gptq");
  EXPECT_EQ(gptq["bits"], 4);
  EXPECT_EQ(gptq["group_size"], 32);
  EXPECT_EQ(gptq["sym"], true);
  EXPECT_EQ(gptq["desc_act"], false);
  EXPECT_EQ(gptq["checkpoint_format"], "gptq");
  EXPECT_EQ(gptq["dynamic"]["+:^model\\.layers\\.0\\.mlp\\.down_proj$"],
            (nlohmann::json{{"bits", 8}, {"group_size", 64}}));
  EXPECT_EQ(gptq["dynamic"]["-:^model\\.layers\\.1\\.self_attn\\.k_proj$"], nlohmann::json::object());
  const auto has_rule = [&](const char* name) { return gptq["dynamic"].contains(name); };
  EXPECT_TRUE(has_rule("-:^model\\.layers\\.1\\.self_attn\\.qkv_proj$"));  // as vLLM calls what it joins
  EXPECT_FALSE(has_rule("+:^model\\.layers\\.0\\.self_attn\\.qkv_proj$"));
  mixed.container = "compressed-tensors";
  mixed.output = scratch_ / "ct";
  quantize_model(source_, mixed, machine_, {});
  const nlohmann::json ct = settings(scratch_ / "ct");
  EXPECT_EQ(ct["format"], "pack-quantized");
  EXPECT_EQ(ct["config_groups"]["group_0"]["targets"], nlohmann::json{"Linear"});
  EXPECT_EQ(ct["config_groups"]["group_1"]["weights"]["num_bits"], 8);
  EXPECT_EQ(ct["config_groups"]["group_1"]["targets"],
            (nlohmann::json{"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"}));
  EXPECT_EQ(ct["ignore"], (nlohmann::json{"model.layers.1.self_attn.k_proj", "lm_head"}));
  expect_same(scratch_ / "ct", scratch_ / "gptq");
  const nlohmann::json inputs =
      settings(quantized("int8:row+a8:token", "compressed-tensors"))["config_groups"]["group_0"];
  EXPECT_EQ(inputs["format"], "int-quantized");
  EXPECT_EQ(inputs["input_activations"],
            (nlohmann::json{
                {"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}}));
}

TEST_F(LayerContainers, WhatTheyDoNotHoldIsRefusedWithWhatWould) {
  const auto says = [&](const std::string& format, const std::string& container, const std::string& what) {
    EXPECT_NE(refusal(format, container).find(what), std::string::npos)
        << container << " " << format << ": " << refusal(format, container);
  };
  says("int4:g128:asym", "gptq", "symmetric integers alone, and gptq_v2 those with zero points; int4:g128 would do");
  says("int5:g32", "gptq", "integers of 2, 3, 4, 8 bits; int4:g32 would do");
  says("int8:row", "gptq", "scales of f16 or bf16; int8:row:f16 would do");
  says("q4_k", "gptq", "int4:g128 would do");
  says("int8:g128", "awq", "integers of 4 bits; int4:g128 would do");
  says("nf4:g64", "compressed-tensors", "holds integers, 8-bit floats (fp8), mxfp4 and nvfp4; int4:g64 would do");
  says("int4:g32", "bitsandbytes", "nf4:g64:f32 would do");
  says("nf4:g16:f32", "bitsandbytes", "blocks of 32, 64, ... 4096; nf4:g64:f32 would do");
  says("int4:g64", "mlx", "int4:g64:bias would do");
  says("int4:g32+a8:token", "awq", "cannot say that inputs are rounded as a8:token");
  says("int4:g32+a8", "compressed-tensors", "cannot say that inputs are rounded as a8:g128:wide");
  says("fp8:row+a8:token", "compressed-tensors", "beside integers alone");
  QuantizeModelOptions head = request("int4:g32", "awq");
  head.embedding = "q8_0";
  EXPECT_NE(error_of([&] { quantize_model(source_, head, machine_, {}); }).find("no embedding in codes"),
            std::string::npos);
  QuantizeModelOptions two = request("int4:g32", "awq");
  two.recipe.rules.insert(two.recipe.rules.begin(), {"*ffn_down*", {}, "int4:g64", {}});
  EXPECT_NE(error_of([&] { quantize_model(source_, two, machine_, {}); }).find("one group size for all layers"),
            std::string::npos);
}

TEST_F(LayerContainers, NotesSayWhoDoesNotTakeIt) {
  const auto notes = [&](const QuantizeModelOptions& options) {
    std::string text;
    for (const std::string& note : quantize_model(source_, options, machine_, {}).notes) text += note + "\n";
    return text;
  };
  const std::filesystem::path out = scratch_ / "noted";
  EXPECT_EQ(notes(request("int8:row+a8:token", "compressed-tensors", out)), "");
  EXPECT_NE(notes(request("int8:g128+a8:g32", "compressed-tensors", out)).find("beside int8:row alone"),
            std::string::npos);
  EXPECT_NE(notes(request("int8:row", "compressed-tensors", out)).find("vLLM on a CPU does not"), std::string::npos);
  EXPECT_NE(notes(request("int4:g16", "gptq", out)).find("none for int4:g16"), std::string::npos);
  EXPECT_NE(notes(request("mxfp4", "compressed-tensors", out)).find("embed_tokens.weight' is bf16 and not mxfp4"),
            std::string::npos)
      << notes(request("mxfp4", "compressed-tensors", out));
  QuantizeModelOptions split = request("int4:g32", "gptq", out);
  split.recipe.rules.insert(split.recipe.rules.begin(), {"blk.0.attn_q.weight", {}, "int8:g32", {}});
  EXPECT_NE(notes(split).find("loads none that are stored in different ways: model.layers.0.self_attn.qkv_proj"),
            std::string::npos);
  QuantizeModelOptions head = request("int4:g32", "gptq", out);
  head.recipe.rules.insert(head.recipe.rules.begin(), {"token_embd.weight", {}, "int8:g32", {}});
  EXPECT_NE(notes(head).find("and not int8:g32"), std::string::npos);
  head.strict = true;
  EXPECT_NE(error_of([&] { notes(head); }).find("and not int8:g32"), std::string::npos);
}

TEST_F(LayerContainers, RuntimesTakeAllOrItIsRefused) {
  const auto made_for = [&](const char* runtime, const char* format, const char* container = "") {
    QuantizeModelOptions options = request(format, container);
    options.runtime = runtime;
    return options;
  };
  const auto chosen = [&](const char* runtime, const char* format) {
    return container_for(find_runtime(runtime), source_, made_for(runtime, format)).name();
  };
  EXPECT_EQ(chosen("vllm", "int4:g128"), "compressed-tensors");
  EXPECT_EQ(chosen("transformers", "int4:g128:asym"), "gptq_v2");
  EXPECT_EQ(chosen("transformers", "nf4:g64:f32"), "bitsandbytes");
  EXPECT_EQ(chosen("mlx", "int4:g64:bias"), "mlx");
  EXPECT_EQ(chosen("llama.cpp", "q4_k"), "gguf");
  const auto refused = [&](const QuantizeModelOptions& options) {
    return error_of([&] { quantize_model(source_, options, machine_, {}); });
  };
  EXPECT_NE(refused(made_for("vllm", "int3:g128", "gptq")).find("vLLM has integers of 4 and 8 bits"),
            std::string::npos);
  EXPECT_NE(refused(made_for("vllm", "int4:g16", "gptq")).find("groups of 32, 64 and 128"), std::string::npos);
  EXPECT_NE(refused(made_for("vllm", "int4:g64:bias", "mlx")).find("vLLM does not read the container mlx"),
            std::string::npos);
  EXPECT_NE(refused(made_for("vllm", "int8:g128+a8:token", "compressed-tensors")).find("int8:row alone"),
            std::string::npos);
  QuantizeModelOptions split = made_for("vllm", "int4:g32", "gptq");
  split.recipe.rules.insert(split.recipe.rules.begin(), {"blk.0.attn_q.weight", {}, "int8:g32", {}});
  EXPECT_NE(refused(split).find("vLLM joins q, k and v"), std::string::npos);
  split.runtime = "transformers";
  EXPECT_EQ(refused(split), "no error");
  EXPECT_NE(error_of([] { find_runtime("vlm"); }).find("known are llama.cpp, mlx"), std::string::npos);
}

// Without a matrix in codes there is nothing that settings could be of.
TEST_F(LayerContainers, PlainDirectoriesSayNothingOfCodes) {
  for (const char* const container : {"gptq", "mlx", "compressed-tensors"}) {
    const std::filesystem::path output = scratch_ / (std::string("plain-") + container);
    const ConvertSummary summary = convert_model(source_, {.output = output, .container = container}, machine_, {});
    EXPECT_EQ(SourceModel::open(output).config_json().find("quantization"), std::string::npos);
    ASSERT_EQ(summary.output.notes.size(), 1u);
    EXPECT_NE(summary.output.notes.front().find("a plain directory"), std::string::npos);
  }
}

TEST_F(LayerContainers, CopiesTellWhatTheyWereMadeOf) {
  quantize_model(source_, request("int4:g32", "gptq", scratch_ / "first"), machine_, {});
  const ContainerOutput made{&gptq_container(), scratch_ / "first"}, copy{&awq_container(), scratch_ / "second"};
  write_copy(made, copy, request("int4:g32", "gptq"), machine_, {});
  std::ifstream file(scratch_ / "second/README.md");
  const std::string card((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_NE(card.find("base_model: \"small\""), std::string::npos) << card;
  EXPECT_NE(card.find("recipe `int4:g32`, method `rtn`; container `awq`"), std::string::npos) << card;
  QuantizeModelOptions rounded = request("int4:g32+a8:token", "");
  EXPECT_NE(error_of([&] {
              arrange_outputs(source_, rounded, {"compressed-tensors", "gptq"}, scratch_ / "x");
            }).find("cannot say that inputs"),
            std::string::npos);
}

TEST_F(LayerContainers, OneQuantizationInSeveral) {
  const QuantizeModelOptions asked = request("int4:g32", "", scratch_ / "all");
  std::vector<ContainerOutput> outputs =
      arrange_outputs(source_, asked, {"gguf", "awq", "mlx", "gptq"}, scratch_ / "all.gguf");
  ASSERT_EQ(outputs.size(), 4u);
  EXPECT_EQ(outputs[0].container->name(), "awq");  // the first that holds the format as it is
  QuantizeModelOptions first = asked;
  first.container = outputs[0].container->name();
  first.output = outputs[0].path;
  quantize_model(source_, first, machine_, {});
  for (std::size_t i = 1; i < outputs.size(); ++i) write_copy(outputs[0], outputs[i], asked, machine_, {});
  for (const char* const name : {"all.gguf", "all-mlx", "all-gptq"}) expect_same(scratch_ / name, scratch_ / "all-awq");
  const auto arranging = [&](const char* format, const std::vector<std::string>& names) {
    return error_of([&] { arrange_outputs(source_, request(format, ""), names, scratch_ / "x"); });
  };
  EXPECT_NE(arranging("int4:g32", {"gptq", "bitsandbytes"}).find("has no place in the container bitsandbytes"),
            std::string::npos);
  EXPECT_NE(arranging("int5:g32", {"gptq", "gguf"}).find("integers of 2, 3, 4, 8 bits"), std::string::npos);
  EXPECT_NE(arranging("int4:g32", {"awq", "awq"}).find("named twice"), std::string::npos);
}

TEST_F(LayerContainers, NumbersThatDifferAreNamed) {
  const SourceModel four = SourceModel::open(quantized("int4:g32", "gptq")),
                    eight = SourceModel::open(quantized("int8:g32", "gptq"));
  const NumbersComparison result = compare_numbers(four, eight, machine_.pool);
  EXPECT_EQ(result.differing.size(), 14u);
  EXPECT_EQ(result.differing.front().format, "int4:g32");
  EXPECT_EQ(result.differing.front().other_format, "int8:g32");
  EXPECT_GT(result.differing.front().relative_rms(), 0.01);
  EXPECT_LT(result.differing.front().relative_rms(), 0.2);
  const SourceModel other = SourceModel::open(kTiedModel);
  EXPECT_NE(error_of([&] { compare_numbers(four, other, machine_.pool); }).find("not of one network"),
            std::string::npos);
}

TEST_F(LayerContainers, ANumberThatIsNoneDiffersByNoShare) {
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  edited_copy(model_, name, scratch_ / "broken", [](std::span<float> values) { values[7] = NAN; });
  const SourceModel broken = SourceModel::open(scratch_ / "broken");
  const NumbersComparison result = compare_numbers(broken, source_, machine_.pool);
  ASSERT_EQ(result.differing.size(), 1u);
  EXPECT_EQ(result.differing.front().name, name);
  EXPECT_EQ(result.differing.front().changed, 1u);
  EXPECT_EQ(result.differing.front().col, 7u);
  EXPECT_TRUE(std::isinf(result.differing.front().largest));
  EXPECT_TRUE(std::isinf(result.differing.front().relative_rms()));
}

// Codes whose largest magnitude is negative have a negative scale in q4_0.
TEST_F(LayerContainers, NumbersOfGgufFilesFindTheirPlace) {
  quantize_to(model_, "q4_0", scratch_ / "q4.gguf", machine_);
  for (const char* const container : {"gptq", "awq", "compressed-tensors", "mlx"}) {
    const std::filesystem::path output = scratch_ / (std::string("of-gguf-") + container);
    convert_model(SourceModel::open(scratch_ / "q4.gguf"), {.output = output, .container = container}, machine_, {});
    expect_same(output, scratch_ / "q4.gguf");
  }
}

TEST(ExactnessTable, IsWhatTheDocumentationHas) {
  const std::string table = exactness_markdown(measure_exactness());
  std::ifstream file(NIBBLE_SOURCE_DIR "/docs/exactness.md");
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_NE(page.find(table), std::string::npos) << "docs/exactness.md lacks this table:\n" << table;
}

}  // namespace
}  // namespace nibble
