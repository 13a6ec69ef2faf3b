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
  const auto expected = [](std::string_view method, std::string_view why) {
    return fmt::format(
        ": the model is quantized already by {} (quantization_config in config.json; tensor "
        "'model.layers.0.mlp.up_proj.qweight' in I32), which is not read here{}; give the original in 16 or 32 bits",
        method, why);
  };
  for (const char* method : {"hqq", "exl3", "some-future-method"}) {
    model.config["quantization_config"] = {{"quant_method", method}, {"bits", 4}};
    EXPECT_EQ(message(), expected(method, ""));
  }
  // Of methods that are read it says what is not.
  const auto refused = [&](const nlohmann::json& settings) {
    model.config["quantization_config"] = settings;
    const std::string text = message();
    const std::size_t begin = text.find("read here ("), end = text.find("); give the original");
    return begin == std::string::npos ? text : text.substr(begin + 11, end - begin - 11);
  };
  EXPECT_EQ(refused({{"quant_method", "gptq"}, {"bits", 4}}), "group_size is missing: a whole number is meant");
  EXPECT_EQ(refused({{"quant_method", "gptq"}, {"bits", 5}, {"group_size", 32}}),
            "bits is '5': what is read here: 2, 3, 4, 8");
  EXPECT_EQ(refused({{"quant_method", "awq"}, {"bits", 4}, {"group_size", 0}}),
            "group_size is '0': a group has 1 to 1048576 inputs, or all of them (-1)");
  EXPECT_EQ(refused({{"quant_method", "awq"}, {"bits", 4}, {"group_size", 32}, {"version", "gemv_fast"}}),
            "version is 'gemv_fast': what is read here: gemm, GEMM, gemv, GEMV");
  EXPECT_EQ(refused({{"quant_method", "awq"}, {"bits", 4}, {"group_size", 32}, {"zero_point", 1}}),
            "zero_point is '1': true or false is meant");
  EXPECT_EQ(refused({{"quant_method", "fp8"}, {"weight_block_size", {128}}}),
            "weight_block_size is '[128]': rows and columns of a block are meant, as in [128, 128]");
  EXPECT_EQ(refused({{"quant_method", "bitnet"}, {"use_rms_norm", true}}),
            "use_rms_norm is 'true': norms within Linears are not read here");
  EXPECT_EQ(refused({{"quant_method", "bitsandbytes"}, {"bnb_4bit_quant_storage", "bfloat16"}}),
            "bnb_4bit_quant_storage is 'bfloat16': what is read here: uint8");
  model.config.erase("quantization_config");
  model.config["quantization"] = {{"group_size", 64}, {"bits", 7}};
  EXPECT_TRUE(message().starts_with(": the model is quantized already by mlx (quantization in config.json; "));
  model.config.erase("quantization");
  scratch.write("quantize_config.json", "{}");
  EXPECT_TRUE(message().starts_with(": the model is quantized already by gptq (quantize_config.json; "));
}

TEST_F(ForeignQuantization, SchemesOfGroupsAreNamedByTheirKeys) {
  put(".weight_packed");
  using Json = nlohmann::json;
  const auto refused = [&](const Json& group, const Json& more = Json::object()) {
    Json settings = {{"quant_method", "compressed-tensors"}, {"format", "pack-quantized"}};
    settings["config_groups"]["group_0"] = group;
    settings.update(more);
    model.config["quantization_config"] = settings;
    const std::string text = message();
    const std::size_t begin = text.find("read here ("), end = text.find("); give the original");
    return begin == std::string::npos ? text : text.substr(begin + 11, end - begin - 11);
  };
  const auto group = [](const Json& weights) { return Json{{"targets", {"Linear"}}, {"weights", weights}}; };
  EXPECT_EQ(refused(group({{"num_bits", 1}, {"strategy", "channel"}})),
            "config_groups.group_0.weights.num_bits is '1': what is read here: 2, 3, 4, 5, 6, 7, 8");
  EXPECT_EQ(refused(group({{"num_bits", 4}, {"strategy", "group"}})),
            "config_groups.group_0.weights.group_size is missing: groups need a size");
  EXPECT_EQ(refused(group({{"num_bits", 4}, {"strategy", "block"}, {"block_structure", {0, 128}}})),
            "config_groups.group_0.weights.block_structure is '[0,128]': rows and columns of a block are meant, as in "
            "[128, 128]");
  EXPECT_EQ(refused(group({{"num_bits", 4}})),
            "config_groups.group_0.weights.strategy is missing: not read in the format pack-quantized");
  EXPECT_EQ(refused(group({{"type", "float"}})),
            "format is 'pack-quantized': weights of type float in the format pack-quantized are not read here");
  EXPECT_EQ(refused(Json::array({"Linear"})),
            "config_groups.group_0 is '[\"Linear\"]': names of presets are not read here; an object is meant");
  EXPECT_EQ(refused(Json()),
            "config_groups.group_0 is missing: names of presets are not read here; an object is meant");
  const Json good = group({{"num_bits", 4}, {"group_size", 32}});
  EXPECT_EQ(refused(good, {{"sparsity_config", {{"format", "sparse-24-bitmask"}}}}),
            "sparsity_config is '{\"format\":\"sparse-24-bitmask\"}': not read here");
  EXPECT_EQ(refused(Json{{"targets", {"re:a(b"}}, {"weights", good["weights"]}}),
            "the expression 'a(b' has a group without an end at offset 3, which is not read here (targets)");
  EXPECT_EQ(refused(good, {{"ignore", {3}}}), "ignore is '[3]': a list of modules is meant");
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
