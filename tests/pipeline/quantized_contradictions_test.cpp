// SPDX-License-Identifier: Apache-2.0
//
// Quantized directories whose settings name layers: those that have codes and those that have none, and those that have
// settings of their own.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "nibble/error.h"
#include "pipeline/edited_directory.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

const std::string kLayer = "model.layers.1.mlp.up_proj", kWhere = "layer '" + kLayer + "': ";

class QuantizedContradictions : public EditedDirectory {
 protected:
  // Whether the model with something changed is run.
  bool runs(const EditableModel& model) {
    model.write(scratch_ / "edited");
    Decoder decoder(SourceModel::open(scratch_ / "edited"), exact_options(), machine_);
    const std::vector<std::int32_t> ids = {7, 30, 9};
    return std::ranges::all_of(all_logits(decoder, ids), [](float logit) { return std::isfinite(logit); });
  }
  bool runs(const std::string& name, const std::function<void(EditableModel&)>& edit) {
    EditableModel model = EditableModel::read(data_directory() / name);
    edit(model);
    return runs(model);
  }
  std::vector<float> decoded(const EditableModel& model, const std::string& layer) {
    model.write(scratch_ / "edited");
    return SourceModel::open(scratch_ / "edited").tensor(layer + ".weight").values.decode();
  }
};

nlohmann::json& settings(EditableModel& model) { return model.config["quantization_config"]; }

std::function<void(EditableModel&)> with(const std::string& key, const nlohmann::json& value) {
  return [=](EditableModel& model) { settings(model)[key] = value; };
}

// In place of the codes of a layer.
void put_plain(EditableModel& model, const std::string& layer = kLayer, const Shape& shape = {96, 64}) {
  for (auto at = model.tensors.begin(); at != model.tensors.end();)
    at = at->first.starts_with(layer + ".") ? model.tensors.erase(at) : std::next(at);
  model.tensors[layer + ".weight"] = {"F16", shape, std::string(shape[0] * shape[1] * 2, '\0')};
}

std::function<void(EditableModel&)> plain_with(const std::string& key, const nlohmann::json& value) {
  return [=](EditableModel& model) {
    put_plain(model);
    settings(model)[key] = value;
  };
}

std::string listed(const std::string& key) {
  return "holds codes, although the configuration lists it among those that are not quantized (" + key + ")";
}

std::string not_listed(const std::string& key) {
  return "holds no codes as others of its kind do, although the configuration does not list it among those that are "
         "not quantized (" +
         key + ")";
}

TEST_F(QuantizedContradictions, ListsThatNameLayersWithCodes) {
  for (const char* const entry :
       {"model.layers.1.mlp.up_proj", "layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_.*"})
    EXPECT_EQ(refusal("tiny_awq", with("modules_to_not_convert", {"lm_head", entry})),
              kWhere + listed("modules_to_not_convert"))
        << entry;
  EXPECT_EQ(refusal("tiny_fp8_blocks", with("modules_to_not_convert", {"model.layers.*.mlp.down_proj"})),
            "layer 'model.layers.0.mlp.down_proj': " + listed("modules_to_not_convert"));
  EXPECT_EQ(refusal("tiny_bitsandbytes", with("llm_int8_skip_modules", {"down_proj"})),
            "layer 'model.layers.0.mlp.down_proj': " + listed("llm_int8_skip_modules"));
  EXPECT_EQ(refusal("tiny_llama_bitnet", with("modules_to_not_convert", {"layers.1.mlp.up_proj"})),
            kWhere + listed("modules_to_not_convert"));
  EXPECT_EQ(refusal("tiny_w8a8", with("ignore", {"lm_head", "re:.*1\\.mlp\\.up"})), kWhere + listed("ignore"));
  // Parts of words name nothing.
  EXPECT_TRUE(
      runs("tiny_awq", with("modules_to_not_convert", {"gate", "up", "layers.1.mlp.up", "model.layers.1.mlp.u", "("})));
}

TEST_F(QuantizedContradictions, ListsThatDoNotNameLayersWithoutCodes) {
  const std::string list = "modules_to_not_convert";
  EXPECT_EQ(refusal("tiny_awq", plain_with(list, {"lm_head", "layers.10.mlp.up_proj"})), kWhere + not_listed(list));
  EXPECT_EQ(refusal("tiny_bitsandbytes", plain_with("llm_int8_skip_modules", {"lm_head"})),
            kWhere + not_listed("llm_int8_skip_modules"));
  EXPECT_EQ(refusal("tiny_llama_bitnet", plain_with(list, {"lm_head"})), kWhere + not_listed(list));
  EXPECT_EQ(refusal("tiny_w8a8", plain_with("ignore", {"lm_head"})), kWhere + not_listed("ignore"));
  EXPECT_TRUE(runs("tiny_awq", plain_with(list, {kLayer})));
  EXPECT_TRUE(runs("tiny_awq", plain_with(list, nullptr)));  // readers then go by what is there
  EXPECT_TRUE(runs("tiny_w8a8", plain_with("ignore", {"lm_head", "re:.*1.mlp.up"})));
}

// Some program that reads the entry leaves the layer plain, or knows it by another name.
TEST_F(QuantizedContradictions, ListsThatMayNameLayersWithoutCodes) {
  for (const char* const entry : {"language_model.model.layers.1.mlp.up_proj", "layers.1.mlp.up", "ers.1", "up",
                                  "odel.", "model.layers.*.mlp.up", "layers.*1\\.mlp", "model\\.layers\\.1\\.mlp\\b"})
    EXPECT_TRUE(runs("tiny_awq", plain_with("modules_to_not_convert", {entry}))) << entry;
  for (const char* const entry :
       {"model.language_model.layers.1.mlp.up_proj", "model.layers.1.mlp", "re:layers\\.1\\.", "re:(?P<any>.*)"})
    EXPECT_TRUE(runs("tiny_w8a8", plain_with("ignore", {"lm_head", entry}))) << entry;
  for (const char* const entry : {"layers.1.mlp*", "model.language_model.layers.1.mlp.*", "model.layers.1.mlp"})
    EXPECT_TRUE(runs("tiny_qwen3_modelopt", plain_with("ignore", {entry}))) << entry;
  // Whole names alone say that a layer has none.
  EXPECT_TRUE(runs("tiny_qwen3_modelopt", with("ignore", {"model.layers.0.mlp", "up_proj"})));
  EXPECT_TRUE(runs("tiny_w8a8", with("ignore", {"model.layers.0.mlp", "up_proj"})));
}

// Layers that guess further tokens, and those of networks whose layers are not counted here.
TEST_F(QuantizedContradictions, LayersBehindTheLastMayHaveNoCodes) {
  const std::string last = "model.layers.2.mlp.up_proj";
  const auto opened = [&](const std::string& layer, const std::function<void(EditableModel&)>& edit) {
    EditableModel model = EditableModel::read(data_directory() / "tiny_fp8_blocks");
    put_plain(model, layer);
    edit(model);
    model.write(scratch_ / "edited");
    try {
      SourceModel::open(scratch_ / "edited");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(opened(last, [](EditableModel&) {}), "");
  EXPECT_NE(opened(last, [](EditableModel& model) { model.config["num_hidden_layers"] = 3; }).find("holds no codes"),
            std::string::npos);
  EXPECT_NE(opened(last,
                   [](EditableModel& model) {
                     model.config.erase("num_hidden_layers");
                     model.config["text_config"]["num_hidden_layers"] = 3;
                   })
                .find("holds no codes"),
            std::string::npos);
  EXPECT_EQ(opened(kLayer, [](EditableModel& model) { model.config.erase("num_hidden_layers"); }), "");
}

TEST_F(QuantizedContradictions, ExpressionsThatTakeTooLongAreNamed) {
  std::string slow = "z";
  for (int i = 0; i < 12; ++i) slow = ".*(?=" + slow + ")";
  const std::string why =
      "layer 'model.layers.0.mlp.down_proj': the expression '" + slow + "' takes too long to be followed (";
  EXPECT_EQ(refusal("tiny_awq", with("modules_to_not_convert", {slow})), why + "modules_to_not_convert)");
  EXPECT_EQ(refusal("tiny_w8a8", with("ignore", {"re:" + slow})), why + "ignore)");
  EXPECT_EQ(refusal("tiny_awq", with("dynamic", {{slow, {{"bits", 4}}}})), why + "dynamic)");
}

TEST_F(QuantizedContradictions, GptqModulesWithSettingsOfTheirOwn) {
  const std::string name = "tiny_qwen3moe_gptq", first = "model.layers.0.", v = first + "self_attn.v_proj",
                    down = first + "mlp.experts.1.down_proj";
  const auto dynamic = [](const nlohmann::json& rules) { return with("dynamic", rules); };
  EXPECT_EQ(refusal(name, dynamic({{"-:.*1\\.down_proj", nlohmann::json::object()}})),
            "layer '" + down + "': " + listed("dynamic"));
  // v_proj of the first layer has no codes. Where no rule names it readers go by what is there.
  const std::string left = "-:.*layers\\.0\\.self_attn\\.v_proj$";
  EXPECT_EQ(refusal(name,
                    [&](EditableModel& m) {
                      settings(m)["dynamic"].erase(left);
                      settings(m)["dynamic"][".*v_proj"] = {{"bits", 4}};
                    }),
            "layer '" + v + "': " + not_listed("dynamic"));
  for (const char* const other : {"", "-:.*lm_head"})
    EXPECT_TRUE(runs(name, [&](EditableModel& m) {
      settings(m)["dynamic"].erase(left);
      if (*other != 0) settings(m)["dynamic"][other] = nlohmann::json::object();
    })) << other;
  EXPECT_EQ(refusal(name,
                    [](EditableModel& m) {
                      settings(m)["dynamic"]["+:.*\\.experts\\.[1-9]\\.down_proj"]["group_size"] = 32;
                    }),
            "layer '" + down +
                "': qzeros should be I32 [1, 16] but is I32 [2, 16] (quantization_config in config.json: bits 8, "
                "group_size 32)");
  for (const auto& [rules, why] : std::vector<std::pair<nlohmann::json, std::string>>{
           {{{"+:up", {{"bits", 5}}}}, "(dynamic.+:up.bits is '5': what is read here: 2, 3, 4, 8)"},
           {{{"up", 8}}, "(dynamic.up is '8': an object is meant)"},
           {{{"-:(?P<a>up)", nlohmann::json::object()}},
            "the expression '(?P<a>up)' has a group of its own kind at offset 3"}})
    EXPECT_NE(refusal(name, dynamic(rules)).find(why), std::string::npos) << refusal(name, dynamic(rules));
}

TEST_F(QuantizedContradictions, AwqModulesWithSettingsOfTheirOwn) {
  const auto dynamic = [](const nlohmann::json& rules) { return with("dynamic", rules); };
  EXPECT_EQ(refusal("tiny_awq", dynamic({{"-:.*1\\.mlp\\.up_proj", nlohmann::json::object()}})),
            kWhere + listed("dynamic"));
  EXPECT_EQ(
      refusal("tiny_awq", dynamic({{".*1\\.mlp\\.up_proj", {{"group_size", 64}}}})),
      kWhere + "qzeros should be I32 [1, 12] but is I32 [2, 12] (quantization_config in config.json: group_size 64)");
  EXPECT_TRUE(runs("tiny_awq", [](EditableModel& model) {
    put_plain(model);
    settings(model)["dynamic"] = {{"-:" + kLayer, nlohmann::json::object()}, {".*up_proj", {{"group_size", 32}}}};
  }));
}

// Scales of NVFP4 that are no positive numbers, in rows that its blocks divide and in others.
TEST_F(QuantizedContradictions, Nvfp4ScalesArePositive) {
  for (const std::string part : {"up_proj", "down_proj"})
    for (const char byte : {'\x7f', '\x80', '\xff', '\xb0'}) {
      const std::string layer = "model.layers.1.mlp." + part;
      const auto edit = [&](EditableModel& model) {
        EditableModel::Stored& scales = model.tensors[layer + ".scales"];
        scales.bytes[3 * scales.shape[1] + 1] = scales.bytes.back() = byte;
      };
      const std::string what =
          fmt::format("layer '{}': scales: row 3, column 1: a scale is {}: {:#04x}", layer,
                      (byte & 0x7f) == 0x7f ? "no number" : "negative", static_cast<unsigned char>(byte));
      EXPECT_EQ(refusal("tiny_mlx", edit), what);
      // Whoever decodes it is told the same.
      EditableModel model = EditableModel::read(data_directory() / "tiny_mlx");
      edit(model);
      EXPECT_TRUE(error_of([&] { decoded(model, layer); }).second.ends_with(what));
      const SourceModel source = SourceModel::open(scratch_ / "edited");
      EXPECT_TRUE(error_of([&] { check_checkpoint(source, 10, machine_.pool, {}); }).second.ends_with(what));
    }
}

TEST_F(QuantizedContradictions, ModelOptSaysHowLayersAreStored) {
  const std::string name = "tiny_qwen3_modelopt", first = "model.layers.0.mlp.up_proj",
                    where = "layer '" + first + "': ";
  const EditableModel good = EditableModel::read(data_directory() / name);
  EXPECT_EQ(refusal(name, [&](EditableModel& m) { m.tensors.erase(first + ".weight_scale"); }),
            where + "weight_scale is missing");
  EXPECT_EQ(refusal(name, [](EditableModel& m) { m.tensors.erase(kLayer + ".weight_scale_2"); }),
            kWhere + "weight_scale_2 is missing");
  EXPECT_EQ(refusal(name, [](EditableModel& m) { m.tensors[kLayer + ".weight_scale"].shape = {48, 8}; }),
            kWhere +
                "weight should be U8 [48, 64] but is U8 [96, 32] (quantization_config in config.json: quant_algo "
                "NVFP4)");
  EXPECT_EQ(refusal(name, with("ignore", {"*mlp.up_proj*"})), where + listed("ignore"));
  EXPECT_EQ(refusal(name, [&](EditableModel& m) { settings(m)["quantized_layers"].erase(first); }),
            where + "holds codes, and quantized_layers does not name it");
  EXPECT_EQ(
      refusal(name,
              [&](EditableModel& m) { m.tensors[first + ".pre_quant_scale"] = {"F32", {64}, std::string(256, '\1')}; }),
      where + "has pre_quant_scale, which changes its inputs or its result and is not read here");
  EXPECT_EQ(refusal(name, [&](EditableModel& m) { settings(m)["quantized_layers"][first]["quant_algo"] = "NVFP4"; }),
            where + "weight_scale_2 is missing");
  EXPECT_NE(refusal(name, with("quant_algo", "W4A8_AWQ"))
                .find("(quant_algo is 'W4A8_AWQ': what is read here: MIXED_PRECISION, FP8, FP8_PB_WO"),
            std::string::npos);
  // Algorithms that have other scales, of which each is 1.
  const EditableModel::Stored one{"F32", {}, std::string("\0\0\x80\x3f", 4)};
  EditableModel model = good;
  model.tensors[first + ".weight_scale"] = one;
  const std::vector<float> expected = decoded(model, first);
  const auto expect_same = [&](const std::string& algorithm, const EditableModel::Stored& scales) {
    settings(model)["quantized_layers"][first] = {{"quant_algo", algorithm}};
    model.tensors[first + ".weight_scale"] = scales;
    EXPECT_EQ(decoded(model, first), expected) << algorithm;
  };
  std::string ones;
  for (int i = 0; i < 96; ++i) ones += one.bytes;
  expect_same("FP8_PER_CHANNEL_PER_TOKEN", {"F32", {96}, ones});
  expect_same("fp8_pb_wo", {"F32", {1, 1, 1, 1}, one.bytes});
  expect_same("MXFP8", {"U8", {96, 2}, std::string(96 * 2, '\x7f')});
}

// As older directories have it.
TEST_F(QuantizedContradictions, ModelOptSettingsMayLieBesideTheConfiguration) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_qwen3_modelopt");
  nlohmann::json own = settings(model);
  own["exclude_modules"] = own["ignore"];
  own["kv_cache_quant_algo"] = "FP8";
  for (const char* const key : {"ignore", "config_groups", "kv_cache_scheme", "producer", "quant_method"})
    own.erase(key);
  const std::vector<float> expected = decoded(model, kLayer);
  model.config.erase("quantization_config");
  model.write(scratch_ / "edited");
  std::ofstream(scratch_ / "edited" / "hf_quant_config.json")
      << nlohmann::json{{"producer", {{"name", "modelopt"}}}, {"quantization", own}};
  const SourceModel source = SourceModel::open(scratch_ / "edited");
  EXPECT_EQ(source.tensor(kLayer + ".weight").values.decode(), expected);
  const std::vector<std::string> notes = source_notes(source);
  EXPECT_TRUE(std::ranges::any_of(notes, [](const std::string& note) {
    return note.ends_with("keys and values are not rounded as kv_cache_quant_algo asks (hf_quant_config.json)");
  }));
}

}  // namespace
}  // namespace nibble
