// SPDX-License-Identifier: Apache-2.0
//
// What configurations of quantized directories ask for besides the weights, and those that contradict their tensors.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error_kind.h"
#include "io/packing/fp8.h"
#include "pipeline/edited_directory.h"

namespace nibble {
namespace {

using Stored = EditableModel::Stored;

class QuantizedSettings : public EditedDirectory {};

const std::string kLayer = "model.layers.1.mlp.up_proj";

// --- inputs ----------------------------------------------------------------------------------------------------------

// Rounded by compressed-tensors on the same grids: but for few numbers in the middle of two codes.
TEST_F(QuantizedSettings, InputsAreRoundedAsTheConfigurationSays) {
  const std::filesystem::path model = data_directory() / "tiny_w8a8";
  const ReferenceLogits reference = ReferenceLogits::read("tiny_w8a8");
  const auto difference = [&](const DecoderOptions& options) {
    Decoder decoder(SourceModel::open(model), options, machine_);
    const std::vector<float> logits = all_logits(decoder, reference.ids);
    const std::size_t vocab = decoder.config().vocab_size;
    double worst = 0;
    for (const auto& [position, expected] : reference.at)
      worst = std::max(worst, relative_difference(std::span(logits).subspan(position * vocab, vocab), expected));
    return worst;
  };
  EXPECT_EQ(activation_format_name(*read_activations(SourceModel::open(model)).format), "a8:static");
  DecoderOptions rounded = exact_options();
  rounded.kernels = {};
  EXPECT_LT(difference(rounded), 1e-3);
  EXPECT_GT(difference(exact_options()), 0.1);  // these grids are narrow
}

TEST_F(QuantizedSettings, InputsThatHaveNoEqualAreSaid) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_w8a8");
  auto& group = model.config["quantization_config"]["config_groups"]["group_0"];
  nlohmann::json& inputs = group["input_activations"];
  EXPECT_EQ(notes_of(model), std::vector<std::string>{});
  inputs = {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}};
  EXPECT_EQ(activation_format_name(*activations_of(model)), "a8:token");
  inputs["symmetric"] = false;
  EXPECT_EQ(activation_format_name(*activations_of(model)), "a8:token:asym");
  inputs = {{"num_bits", 8}, {"type", "int"}, {"strategy", "group"}, {"group_size", 64}, {"dynamic", true}};
  EXPECT_EQ(activation_format_name(*activations_of(model)), "a8:g64");
  const std::string alone =
      "the inputs of Linears are quantized in a way that has no equal here (input_activations in config.json); the "
      "weights alone are as they are meant";
  for (const nlohmann::json& other : {nlohmann::json{{"type", "float"}, {"strategy", "token"}, {"dynamic", true}},
                                      nlohmann::json{{"num_bits", 4}, {"strategy", "token"}, {"dynamic", true}},
                                      nlohmann::json{{"strategy", "tensor"}, {"dynamic", true}},
                                      nlohmann::json{{"strategy", "group"}, {"group_size", 48}, {"dynamic", true}}}) {
    inputs = other;
    EXPECT_EQ(activations_of(model), std::nullopt) << other;
    EXPECT_EQ(notes_of(model), std::vector<std::string>{alone}) << other;
  }
  inputs = nullptr;
  EXPECT_EQ(activations_of(model), std::nullopt);
  EXPECT_EQ(notes_of(model), std::vector<std::string>{});
  // Scales of keys and values belong to what is not done.
  model.config["quantization_config"]["kv_cache_scheme"] = {{"num_bits", 8}, {"type", "float"}};
  for (const char* const key : {"k_scale", "v_scale", "k_zero_point"})
    model.tensors[std::string("model.layers.0.self_attn.") + key] = {"F32", {1}, std::string(4, '\1')};
  const auto cache_is = [&](const std::string& words) {
    EXPECT_EQ(notes_of(model), std::vector<std::string>{
                                   "keys and values are not kept as kv_cache_scheme in config.json asks, in " + words +
                                   ": caches here have scales of their own for 32 channels of each position "
                                   "(--kv)"});
  };
  cache_is("8-bit floats with a scale for each layer");
  nlohmann::json& cache = model.config["quantization_config"]["kv_cache_scheme"];
  cache["strategy"] = "attn_head";
  cache_is("8-bit floats with a scale for each head");
  cache = {{"num_bits", 8}, {"type", "int"}, {"strategy", "token"}, {"dynamic", true}};
  cache_is("8-bit integers with scales of each token");
  Decoder(SourceModel::open(scratch_ / "edited"), exact_options(), machine_);
}

TEST_F(QuantizedSettings, TargetsThatAreNoLayerAreTold) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_w8a8");
  nlohmann::json& targets = model.config["quantization_config"]["config_groups"]["group_0"]["targets"];
  ASSERT_TRUE(targets.is_array());
  targets.push_back("re:.*up_proj$");  // another way to a layer that is meant already
  EXPECT_EQ(notes_of(model), std::vector<std::string>{});
  targets.push_back("re:.*gate_pro$");
  targets.push_back("model.layers.7.mlp.up_proj");
  const std::string none = "no layer is meant by a target of config_groups.group_0: ";
  EXPECT_EQ(notes_of(model),
            (std::vector<std::string>{none + "'re:.*gate_pro$'", none + "'model.layers.7.mlp.up_proj'"}));
}

// One scale for all that a Linear reads, in the type that the model is in.
TEST_F(QuantizedSettings, StaticGridsLieBesideTheWeights) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_w8a8");
  std::vector<std::string> layers;
  for (const auto& [name, tensor] : model.tensors)
    if (tensor.dtype == "I8") layers.push_back(name.substr(0, name.size() - 7));
  ASSERT_EQ(layers.size(), 14u);
  for (const std::string& layer : layers)
    model.tensors[layer + ".input_scale"] = {"BF16", {1}, std::string("\x00\x3d", 2)};
  EXPECT_EQ(activation_format_name(*activations_of(model)), "a8:static");
  const SourceModel source = SourceModel::open(scratch_ / "edited");
  const StoredActivations stored = read_activations(source);
  ASSERT_EQ(stored.grids.size(), 14u);
  EXPECT_EQ(stored.find(kLayer + ".weight")->scale, 0.03125f);
  DecoderOptions options = exact_options();
  options.kernels = {};
  Decoder decoder(source, options, machine_);
  const std::vector<std::int32_t> ids = {1, 2, 3};
  for (const float logit : all_logits(decoder, ids)) ASSERT_TRUE(std::isfinite(logit));
  model.tensors[kLayer + ".input_scale"] = {"F32", {2}, std::string(8, '\0')};
  model.write(scratch_ / "edited");
  EXPECT_NE(error_of([&] {
              read_activations(SourceModel::open(scratch_ / "edited"));
            }).second.find("'" + kLayer + ".input_scale' in model.safetensors should be one element of F32"),
            std::string::npos);
}

// --- weights ---------------------------------------------------------------------------------------------------------

// FP8 with a scale for each matrix or row, by either of the names that programs have for it.
TEST_F(QuantizedSettings, Fp8HasScalesOfMatricesAndRows) {
  for (const std::string format : {"fp8:tensor", "fp8:row"}) {
    for (const std::string scale : {".weight_scale", ".weight_scale_inv"}) {
      std::filesystem::remove_all(scratch_.path() / "planar");
      quantize_to(kGroupedModel, format, scratch_ / "planar", machine_);
      const SourceModel planar = SourceModel::open(scratch_ / "planar");
      EditableModel model = EditableModel::read(kGroupedModel);
      model.config["quantization_config"] = {{"quant_method", "fp8"}, {"activation_scheme", "static"}};
      for (const StoredTensor& stored : planar.tensors()) {
        if (stored.values.format()->name() != format) {
          model.tensors[stored.name] = {
              stored.type_name, stored.shape,
              std::string(reinterpret_cast<const char*>(stored.data.data()), stored.data.size())};
          continue;
        }
        const Fp8Packed packed = pack_fp8(*stored.values.planes(), "layer");
        const auto put = [&](const std::string& name, const Tensor& tensor) {
          model.tensors[name] = {std::string(dtype_name(tensor.dtype)), tensor.shape,
                                 std::string(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size())};
        };
        const std::string layer = stored.name.substr(0, stored.name.size() - 7);
        put(stored.name, packed.weight);
        put(layer + scale, packed.scales);
        if (format == "fp8:tensor") model.tensors[layer + scale].shape.clear();
        model.tensors[layer + ".input_scale"] = {"F32", {}, std::string(4, '\1')};
        model.tensors[layer + ".activation_scale"] = {"BF16", {}, std::string(2, '\1')};
      }
      model.write(scratch_ / "fp8");
      Decoder expected(SourceModel::open(scratch_ / "planar"), exact_options(), machine_),
          decoder(SourceModel::open(scratch_ / "fp8"), exact_options(), machine_);
      const std::vector<std::int32_t> ids = {7, 30, 99, 4};
      EXPECT_EQ(all_logits(decoder, ids), all_logits(expected, ids)) << format << scale;
    }
  }
}

// BitNet's layers divide by their scales, or multiply with them.
TEST_F(QuantizedSettings, BitnetSaysWhatItsScalesDo) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_llama_bitnet");
  const std::vector<float> divided =
      SourceModel::open(data_directory() / "tiny_llama_bitnet").tensor(kLayer + ".weight").values.decode();
  model.config["quantization_config"]["linear_class"] = "autobitlinear";
  model.tensors[kLayer + ".weight_scale"] = {"F32", {1}, std::string("\0\0\0\x3f", 4)};
  model.write(scratch_ / "edited");
  const std::vector<float> multiplied =
      SourceModel::open(scratch_ / "edited").tensor(kLayer + ".weight").values.decode();
  ASSERT_EQ(multiplied.size(), divided.size());
  const float largest = *std::ranges::max_element(divided);
  for (std::size_t i = 0; i < divided.size(); ++i) ASSERT_EQ(multiplied[i], 0.5f * (divided[i] / largest)) << i;
}

TEST_F(QuantizedSettings, WhatContradictsTheTensorsIsRefused) {
  const auto erase = [](const std::string& role) {
    return [=](EditableModel& model) { model.tensors.erase(kLayer + role); };
  };
  const std::string where = "layer '" + kLayer + "': ";
  EXPECT_EQ(refusal("tiny_awq", erase(".qzeros")), where + "qzeros is missing");
  EXPECT_EQ(refusal("tiny_awq", [](EditableModel& m) { m.config["quantization_config"]["zero_point"] = false; })
                .substr(0, 75),
            "layer 'model.layers.0.mlp.down_proj': qzeros has zero points other than 8, ");
  EXPECT_EQ(refusal("tiny_awq", [](EditableModel& m) { m.config["quantization_config"]["group_size"] = 64; }),
            "layer 'model.layers.0.mlp.down_proj': qzeros should be I32 [2, 8] but is I32 [3, 8] "
            "(quantization_config in config.json: group_size 64)");
  EXPECT_EQ(refusal("tiny_fp8_blocks", erase(".weight_scale_inv")), where + "weight_scale_inv is missing");
  EXPECT_EQ(refusal("tiny_fp8_blocks",
                    [](EditableModel& m) { m.config["quantization_config"]["weight_block_size"] = {32, 64}; }),
            "layer 'model.layers.0.mlp.down_proj': weight_scale_inv should be F32 [2, 2] but is F32 [2, 3] "
            "(quantization_config in config.json: weight_block_size [32, 64])");
  EXPECT_EQ(refusal("tiny_mlx", erase(".scales")), where + "scales is missing");
  EXPECT_EQ(refusal("tiny_mlx",
                    [](EditableModel& m) {
                      for (const char* const key : {"quantization", "quantization_config"})
                        m.config[key]["model.layers.1.mlp.up_proj"] = false;
                    }),
            where + "holds codes, although the configuration says that it is not quantized");
  EXPECT_EQ(refusal("tiny_mlx",
                    [](EditableModel& m) {
                      for (const char* const key : {"quantization", "quantization_config"})
                        m.config[key].erase("model.embed_tokens");
                    }),
            "layer 'model.embed_tokens': weight should be U32 [200, 8] but is U32 [200, 12] "
            "(quantization in config.json: bits 4, group_size 32)");
  EXPECT_EQ(refusal("tiny_llama_bitnet", erase(".weight_scale")), where + "weight_scale is missing");
  EXPECT_NE(refusal("tiny_llama_bitnet", [](EditableModel& m) { m.tensors[kLayer + ".weight"].bytes[70] = '\x83'; })
                .find("row 1: the code is reserved at column 6"),
            std::string::npos);
  EXPECT_EQ(refusal("tiny_llm_int8", erase(".SCB")), where + "SCB is missing");
  EXPECT_EQ(refusal("tiny_llm_int8", [](EditableModel& m) { m.tensors[kLayer + ".weight_format"].bytes = "\2"; }),
            where + "weight_format is none of rows, which is not read here: 2");
}

TEST_F(QuantizedSettings, BitsandbytesThatDoesNotFitIsRefused) {
  const std::string layer = "model.layers.0.mlp.up_proj", where = "layer '" + layer + "': ";
  const auto name = [&](const std::string& role) { return layer + ".weight." + role; };
  const auto refused = [&](const std::function<void(EditableModel&)>& edit) {
    return refusal("tiny_bitsandbytes", edit);
  };
  EXPECT_EQ(refused([&](EditableModel& m) { m.tensors.erase(name("absmax")); }), where + "weight.absmax is missing");
  EXPECT_EQ(refused([&](EditableModel& m) { m.tensors.erase(name("nested_absmax")); }),
            where + "absmax is quantized itself, and nested_absmax or nested_quant_map is missing");
  EXPECT_EQ(refused([&](EditableModel& m) { m.tensors[name("quant_map")].bytes[3] = 0; }).substr(0, 84),
            where + "quant_map has another point for code 0 than -1: ");
  const auto with_state = [&](const std::function<void(nlohmann::json&)>& edit) {
    return refused([&](EditableModel& m) {
      Stored& state = m.tensors[name("quant_state.bitsandbytes__nf4")];
      nlohmann::json json = nlohmann::json::parse(state.bytes);
      edit(json);
      state.bytes = json.dump();
      state.shape = {state.bytes.size()};
    });
  };
  EXPECT_EQ(with_state([](nlohmann::json& j) { j["quant_type"] = "nf3"; }),
            where + "quant_state: quant_type is missing or none");
  EXPECT_EQ(with_state([](nlohmann::json& j) { j["shape"] = {96, -64}; }),
            where + "quant_state: shape is missing or none");
  EXPECT_EQ(with_state([](nlohmann::json& j) { j["shape"] = {64, 96}; }),
            where + "blocks of 64 numbers reach from one row of 96 into the next, which no format here has");
  EXPECT_EQ(with_state([](nlohmann::json& j) { j["shape"] = {48, 64}; }),
            where + "weight should be U8 [1536, 1] but is U8 [3072, 1]");
  EXPECT_EQ(with_state([](nlohmann::json& j) { j["blocksize"] = 0; }),
            where + "quant_state: blocksize is missing or none");
}

TEST_F(QuantizedSettings, CompressedTensorsThatDoNotFitAreRefused) {
  const auto refused = [&](const std::function<void(EditableModel&)>& edit) {
    return refusal("tiny_compressed_tensors", edit);
  };
  const std::string first = "model.layers.0.", q = first + "self_attn.q_proj", k = first + "self_attn.k_proj",
                    up = first + "mlp.up_proj", gate = "model.layers.1.mlp.gate_proj";
  const auto said = [](const std::string& layer, const std::string& what) { return "layer '" + layer + "': " + what; };
  const auto group = [](EditableModel& m, int index) -> nlohmann::json& {
    return m.config["quantization_config"]["config_groups"][fmt::format("group_{}", index)];
  };
  EXPECT_EQ(refused([&](EditableModel& m) { m.tensors.erase(q + ".weight_scale"); }),
            said(q, "weight_scale is missing"));
  EXPECT_EQ(
      refused([&](EditableModel& m) { m.tensors.erase(k + ".weight_zero_point"); }),
      said(k, "weight_zero_point is missing, although config_groups.group_1 says that the layer is not symmetric"));
  EXPECT_EQ(refused([&](EditableModel& m) { group(m, 5)["weights"]["symmetric"] = true; }),
            said(up,
                 "weight_zero_point is there, although config_groups.group_5 says that the layer is symmetric; set "
                 "symmetric to false if it is meant"));
  EXPECT_EQ(refused([&](EditableModel& m) { m.config["quantization_config"]["ignore"] = {"re:.*q_proj"}; }),
            said(q, "holds codes, although the configuration lists it among those that are not quantized (ignore)"));
  EXPECT_EQ(refused([&](EditableModel& m) { group(m, 13)["targets"] = {"Embedding"}; }),
            said("model.layers.1.mlp.down_proj", "holds codes, and no group's targets name it (config_groups)"));
  EXPECT_EQ(refused([&](EditableModel& m) { group(m, 4)["targets"] = group(m, 15)["targets"] = {q}; }),
            said(first + "mlp.gate_proj",
                 "holds codes in weight, although config_groups.group_13 says "
                 "nvfp4-pack-quantized"));
  EXPECT_EQ(refused([&](EditableModel& m) { group(m, 0)["weights"]["group_size"] = 64; }),
            said(q,
                 "weight_scale should be BF16 [64, 1] but is BF16 [64, 2] (quantization_config in config.json: "
                 "config_groups.group_0.weights: num_bits 4, group_size 64)"));
  EXPECT_EQ(refused([&](EditableModel& m) { m.tensors[gate + ".weight_global_scale"].bytes = std::string(4, '\0'); }),
            said(gate, "the scale of the whole tensor is no positive number: inf"));
  EXPECT_EQ(refused([&](EditableModel& m) { m.tensors[q + ".weight_g_idx"] = {"I32", {64}, std::string(256, '\0')}; }),
            said(q, "group 0 has more inputs than the 32 of a group, which no format here has"));
  EXPECT_EQ(refused([&](EditableModel& m) { m.tensors[q + ".weight_g_idx"] = {"I32", {64}, std::string(256, '\7')}; }),
            said(q, "input 0 is in a group that there is not, of 2: 117901063"));
}

// Inputs that lie in groups in an order of their own: those of the same layer, moved.
TEST_F(QuantizedSettings, CompressedTensorsMayHaveAnOrderOfInputs) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_compressed_tensors");
  const std::string layer = "model.layers.0.self_attn.q_proj";
  std::string& scales = model.tensors[layer + ".weight_scale"].bytes;
  for (std::size_t row = 0; row < 64; ++row) {
    std::swap(scales[4 * row], scales[4 * row + 2]);
    std::swap(scales[4 * row + 1], scales[4 * row + 3]);
  }
  std::string groups;
  for (std::int32_t input = 0; input < 64; ++input) {
    const std::int32_t own = 1 - input / 32;
    groups.append(reinterpret_cast<const char*>(&own), sizeof own);
  }
  model.tensors[layer + ".weight_g_idx"] = {"I32", {64}, groups};
  model.write(scratch_ / "ordered");
  const SourceModel ordered = SourceModel::open(scratch_ / "ordered"),
                    plain = SourceModel::open(data_directory() / "tiny_compressed_tensors");
  ASSERT_TRUE(ordered.tensor(layer + ".weight").values.parts());
  EXPECT_EQ(ordered.tensor(layer + ".weight").values.decode(), plain.tensor(layer + ".weight").values.decode());
}

}  // namespace
}  // namespace nibble
