// SPDX-License-Identifier: Apache-2.0
//
// Directories that other programs have quantized are inspected, run and quantized from their codes. Those of tests/data
// were packed, and decoded for their logits, by the programs themselves (tools/reference_quantized.py).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error_kind.h"
#include "kernels/chosen_isa.h"
#include "model/stored_activations.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"
#include "pipeline/tell/inspect.h"
#include "pipeline/tell/source_notes.h"

namespace nibble {
namespace {

constexpr double kAgreement = 2e-5;  // of logits in f32, whose sums are taken in another order

struct QuantizedModel {
  std::string name;
  std::map<std::string, std::string> formats;  // of some tensors
  std::vector<std::string> notes;              // behind the path
};

const std::string kFirst = "model.layers.0.", kSecond = "model.layers.1.";

const std::string kWeightsAlone = "; the weights alone are as they are meant";

std::string widened(const std::string& what, const std::string& why) {
  return fmt::format("{}, which is exact and takes more bits than the files: {}", what, why);
}

const std::vector<QuantizedModel> kModels = {
    {"tiny_awq",
     {{kFirst + "mlp.up_proj.weight", "int4:g32:asym"}, {kSecond + "mlp.down_proj.weight", "int4:g32:asym"}},
     {}},
    {"tiny_llama_bitnet", {{kFirst + "mlp.up_proj.weight", "ternary:row"}}, {}},
    {"tiny_bitsandbytes",
     {{kFirst + "mlp.up_proj.weight", "nf4:g64:f32"},
      {kFirst + "mlp.down_proj.weight", "nf4:g32:f32"},
      {kSecond + "mlp.up_proj.weight", "fp4:g64:f32"}},
     {widened("1 matrix is held as nf4:g32:f32", "scales that are quantized themselves are decoded"),
      widened("6 matrices are held as nf4:g64:f32", "scales that are quantized themselves are decoded")}},
    {"tiny_compressed_tensors",
     {{kFirst + "self_attn.q_proj.weight", "int4:g32:bf16"},
      {kFirst + "self_attn.k_proj.weight", "int4:g32:asym:bf16"},
      {kFirst + "self_attn.v_proj.weight", "int8:row:bf16"},
      {kFirst + "self_attn.o_proj.weight", "int3:g16:bf16"},
      {kFirst + "mlp.gate_proj.weight", "int8:g32:bf16"},
      {kFirst + "mlp.up_proj.weight", "int8:row:asym:bf16"},
      {kFirst + "mlp.down_proj.weight", "int8:row:bf16"},
      {kSecond + "self_attn.q_proj.weight", "fp8:row:bf16"},
      {kSecond + "self_attn.k_proj.weight", "fp8:tensor:bf16"},
      {kSecond + "self_attn.v_proj.weight", "fp8:block16x32:bf16"},
      {kSecond + "self_attn.o_proj.weight", "mxfp4"},
      {kSecond + "mlp.gate_proj.weight", "nvfp4"},
      {kSecond + "mlp.up_proj.weight", "fp8:g32:e8m0"},
      {kSecond + "mlp.down_proj.weight", "e2m1:g16:f32"},
      {"lm_head.weight", "fp8:g32:bf16"}},
     {widened("1 matrix is held as e2m1:g16:f32",
              "blocks of nvfp4 do not divide their rows, so that both scales are multiplied out")}},
    {"tiny_fp8_blocks",
     {{kFirst + "mlp.up_proj.weight", "fp8:block32x32"}, {kSecond + "mlp.down_proj.weight", "fp8:block32x32"}},
     {"the inputs of Linears are not rounded to 8-bit floats as activation_scheme in config.json asks" +
      kWeightsAlone}},
    {"tiny_gptq", {{kFirst + "mlp.up_proj.weight", "int4:g32:asym"}}, {}},
    {"tiny_llm_int8", {{kFirst + "mlp.up_proj.weight", "int8:row:amax"}}, {}},
    {"tiny_mlx",
     {{"model.embed_tokens.weight", "int6:g32:bias"},
      {kFirst + "self_attn.q_proj.weight", "int8:g64:bias"},
      {kFirst + "self_attn.k_proj.weight", "int4:g32:bias"},
      {kFirst + "self_attn.o_proj.weight", "int3:g32:bias"},
      {kSecond + "self_attn.q_proj.weight", "mxfp4"},
      {kSecond + "mlp.gate_proj.weight", "fp8:g32:e8m0"},
      {kSecond + "mlp.up_proj.weight", "nvfp4"},
      {kSecond + "mlp.down_proj.weight", "e2m1:g16:f32"}},
     {widened("3 matrices are held as e2m1:g16:f32",
              "blocks of nvfp4 do not divide their rows, so that scales are widened")}},
    {"tiny_qwen2_bitsandbytes",
     {{kFirst + "mlp.up_proj.weight", "nf4:g64:f32"}, {kSecond + "mlp.down_proj.weight", "nf4:g32:f32"}},
     {}},
    {"tiny_qwen2_gptq_v2", {{kFirst + "self_attn.k_proj.weight", "int4:g32:asym"}}, {}},
    {"tiny_qwen3_modelopt",
     {{kFirst + "mlp.up_proj.weight", "fp8:tensor"},
      {kSecond + "mlp.up_proj.weight", "nvfp4"},
      {kSecond + "mlp.down_proj.weight", "e2m1:g16:f32"}},
     {"the inputs of Linears are not rounded to 8-bit floats as quant_algo asks (quantization_config in config.json)" +
          kWeightsAlone,
      "the inputs of Linears are not rounded to 4-bit floats as quant_algo asks (quantization_config in config.json)" +
          kWeightsAlone,
      "keys and values are not rounded as kv_cache_scheme asks (quantization_config in config.json)",
      widened("2 matrices are held as e2m1:g16:f32",
              "blocks of nvfp4 do not divide their rows, so that both scales are multiplied out")}},
    {"tiny_qwen3moe_awq", {{kFirst + "mlp.experts.2.up_proj.weight", "int4:g32:asym"}}, {}},
    {"tiny_qwen3moe_compressed", {{kSecond + "mlp.experts.2.down_proj.weight", "int4:g32:asym:bf16"}}, {}},
    {"tiny_qwen3moe_fp8",
     {{kSecond + "mlp.experts.0.down_proj.weight", "fp8:block32x32"}},
     {"the inputs of Linears are not rounded to 8-bit floats as activation_scheme in config.json asks" +
      kWeightsAlone}},
    {"tiny_qwen3moe_gptq",
     {{kFirst + "self_attn.v_proj.weight", "f16"},
      {kSecond + "self_attn.v_proj.weight", "int4:g32:asym"},
      {kFirst + "mlp.experts.0.down_proj.weight", "int4:g32:asym"},
      {kFirst + "mlp.experts.1.down_proj.weight", "int8:g16:asym"}},
     {}},
    {"tiny_qwen3moe_mlx",
     {{kFirst + "mlp.gate.weight", "int8:g64:bias"},
      {kFirst + "mlp.switch_mlp.gate_proj.weight", "int4:g32:bias"},
      {kFirst + "mlp.switch_mlp.up_proj.weight", "mxfp4"},
      {kFirst + "mlp.switch_mlp.down_proj.weight", "e2m1:g16:f32"}},
     {widened("2 matrices are held as e2m1:g16:f32",
              "blocks of nvfp4 do not divide their rows, so that scales are widened")}},
};

void PrintTo(const QuantizedModel& model, std::ostream* out) { *out << model.name; }

std::string name_of(const testing::TestParamInfo<QuantizedModel>& info) { return info.param.name; }

class QuantizedDirectory : public testing::TestWithParam<QuantizedModel> {
 protected:
  std::filesystem::path path() const { return data_directory() / GetParam().name; }

  void expect_agreement(const std::filesystem::path& model, double bound, const DecoderOptions& options) {
    const ReferenceLogits reference = ReferenceLogits::read(GetParam().name);
    Decoder decoder(SourceModel::open(model), options, machine_);
    const std::vector<float> logits = all_logits(decoder, reference.ids);
    const std::size_t vocab = decoder.config().vocab_size;
    ASSERT_EQ(reference.at.size(), 4u);
    for (const auto& [position, expected] : reference.at)
      EXPECT_LT(relative_difference(std::span(logits).subspan(position * vocab, vocab), expected), bound)
          << "position " << position;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};
INSTANTIATE_TEST_SUITE_P(Models, QuantizedDirectory, testing::ValuesIn(kModels), name_of);

TEST_P(QuantizedDirectory, AgreesWithTransformers) { expect_agreement(path(), kAgreement, exact_options()); }

TEST_P(QuantizedDirectory, IsInspectedAndChecked) {
  const SourceModel model = SourceModel::open(path());
  EXPECT_EQ(describe_model(model).obstacle, "");
  const std::vector<TensorListing> tensors = list_tensors(model);
  for (const auto& [name, format] : GetParam().formats) {
    const auto found = std::ranges::find(tensors, name, &TensorListing::name);
    ASSERT_NE(found, tensors.end()) << name;
    EXPECT_EQ(found->format, format) << name;
  }
  std::vector<std::string> notes;
  for (const std::string& note : GetParam().notes) notes.push_back(fmt::format("{}: {}", path().string(), note));
  EXPECT_EQ(source_notes(model), notes);
  const CheckResult result = check_checkpoint(model, 10, machine_.pool, {});
  for (const Defect& defect : result.defects) ADD_FAILURE() << defect.tensor << ": " << defect.what;
  // No byte of the file is counted twice or lost.
  std::uint64_t bytes = 0;
  for (const TensorListing& tensor : tensors) bytes += tensor.bytes;
  const std::string file = read_text(path() / "model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  EXPECT_EQ(bytes, file.size() - 8 - header);
}

// What is written anew means the same, in either container; the settings of the other program are gone.
TEST_P(QuantizedDirectory, IsQuantizedFromItsCodes) {
  for (const char* const name : {"out", "out.gguf"}) {
    const QuantizeSummary summary = quantize_to(path(), "f32", scratch_ / name, machine_);
    for (const std::string& note : summary.notes) EXPECT_EQ(note.find("the tensors are plain"), std::string::npos);
    expect_agreement(scratch_ / name, kAgreement, exact_options());
  }
  EXPECT_EQ(SourceModel::open(scratch_ / "out").config_json().find("quantization"), std::string::npos);
  QuantizeModelOptions again;
  choose_format(again, "q8_0");
  again.output = scratch_ / "again.gguf";
  const auto refused = error_of([&] { quantize_model(SourceModel::open(path()), again, machine_, {}); });
  EXPECT_NE(refused.second.find("is quantized already"), std::string::npos) << refused.second;
  again.allow_requantize = true;
  quantize_model(SourceModel::open(path()), again, machine_, {});
  expect_agreement(again.output, 0.05, exact_options());
}

}  // namespace
}  // namespace nibble
