// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints that other programs have quantized are named as such.
#include "model/foreign_quantization.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/checkpoint_writer.h"
#include "model/config.h"
#include "tiny_models.h"

namespace nibble {
namespace {

class ForeignQuantization : public testing::Test {
 protected:
  ForeignQuantization() : model(EditableModel::read(data_directory() / "tiny_tied")) {}

  // Of reading the configuration, without the directory it begins with; empty: none.
  std::string message() {
    model.write(scratch.path());
    try {
      read_model_config(SourceModel::open(scratch.path()));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported);
      return std::string(error.what()).substr(scratch.path().string().size());
    }
    return "";
  }
  void put(const std::string& ending, const std::string& dtype = "I32") {
    model.tensors["model.layers.0.mlp.up_proj" + ending] = {dtype, {2, 1}, std::string(8, '\1')};
  }

  ScratchDirectory scratch;
  EditableModel model;
};

TEST_F(ForeignQuantization, TheConfigurationNamesTheMethod) {
  put(".qweight");
  for (const char* method : {"bitsandbytes", "some-future-method"}) {
    model.config["quantization_config"] = {{"quant_method", method}, {"bits", 4}};
    EXPECT_EQ(
        message(),
        fmt::format(
            ": the model is quantized already by {} (quantization_config in config.json; tensor "
            "'model.layers.0.mlp.up_proj.qweight' in I32), which is not read here; give the original in 16 or 32 bits",
            method));
  }
  model.config.erase("quantization_config");
  model.config["quantization"] = {{"group_size", 64}, {"bits", 4}};
  EXPECT_TRUE(message().starts_with(": the model is quantized already by mlx (quantization in config.json; "));
  model.config.erase("quantization");
  scratch.write("quantize_config.json", "{}");
  EXPECT_TRUE(message().starts_with(": the model is quantized already by gptq (quantize_config.json; "));
}

TEST_F(ForeignQuantization, TensorsGiveItAwayWithoutAConfiguration) {
  const std::map<std::string, std::string> traces = {{".g_idx", "GPTQ"},
                                                     {".qzeros", "GPTQ or AWQ"},
                                                     {".weight_packed", "compressed-tensors"},
                                                     {".SCB", "bitsandbytes"},
                                                     {".W_q", "HQQ"},
                                                     {".weight_scale_inv", "FP8 in blocks"},
                                                     {".scales", "MLX"}};
  for (const auto& [ending, method] : traces) {
    put(ending);
    EXPECT_TRUE(message().starts_with(": the model is quantized already by " + method + " (tensor '")) << message();
    model.tensors.erase("model.layers.0.mlp.up_proj" + ending);
  }
  for (const char* type : {"F8_E4M3", "U8", "I8"}) {
    model.tensors["model.layers.0.mlp.up_proj.weight"] = {type, {2, 4}, std::string(8, '\1')};
    EXPECT_TRUE(message().starts_with(": the model is quantized already by another program (tensor '")) << message();
  }
}

TEST_F(ForeignQuantization, PlainTensorsAreReadWhateverTheConfigurationSays) {
  model.config["quantization_config"] = {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}};
  EXPECT_EQ(message(), "");
}

// What reading the configuration of a GGUF file says that holds no more than one matrix and its factor.
std::string message_of_factor(const std::filesystem::path& path, float factor) {
  GgufMetadata metadata;
  metadata.set("general.architecture", GgufValue::of_string("llama"));
  const FormatPtr f32 = find_format("f32");
  const auto writer =
      make_gguf_writer(path, metadata, {{"blk.0.attn_q.weight", {2, 4}, f32}, {"blk.0.attn_q.scale", {1}, f32}});
  writer->write_rows(0, QuantizedTensor(f32, 2, 4).view());
  QuantizedTensor scale(f32, 1, 1);
  std::memcpy(scale.row(0)[0], &factor, sizeof factor);
  writer->write_rows(1, scale.view());
  writer->finish();
  try {
    read_model_config(SourceModel::open(path));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_F(ForeignQuantization, AFactorOfAWholeMatrixIsNotPassedOver) {
  const auto path = scratch / "m.gguf";
  EXPECT_EQ(message_of_factor(path, 0.25f),
            path.string() +
                ": tensor 'blk.0.attn_q.scale' is a factor of the whole of 'blk.0.attn_q.weight', and such "
                "factors are not read here; give the original in 16 or 32 bits");
  EXPECT_EQ(message_of_factor(path, 1).find("factor"), std::string::npos);  // other keys are missing
}

}  // namespace
}  // namespace nibble
