// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's Model Optimizer (quant_method "modelopt"; hf_quant_config.json in older directories): P.weight in 8-bit
// floats or in bytes of two 4-bit floats, with P.weight_scale and, of 4-bit floats, the factor P.weight_scale_2.
// "MIXED_PRECISION" has an algorithm for each layer.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <map>

#include "io/layers/layer_scheme.h"
#include "io/packing/fp8.h"
#include "io/packing/nvfp4.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWeight = ".weight", kScale = ".weight_scale", kFactor = ".weight_scale_2",
                           kAlgorithm = "quant_algo", kMixed = "MIXED_PRECISION", kLayers = "quantized_layers";

enum class Layout : std::uint8_t { fp8_tensor, fp8_rows, fp8_blocks, fp8_groups, nvfp4 };

struct Algorithm {
  std::string_view name;
  Layout layout = Layout::fp8_tensor;
  std::int64_t group = 0;     // inputs that share a scale; 0: the key group_size says nothing
  std::string_view inputs{};  // what inputs are rounded to; empty: they are not
};

constexpr auto kAlgorithms = std::to_array<Algorithm>({{"FP8", Layout::fp8_tensor, 0, "8-bit"},
                                                       {"FP8_PB_WO", Layout::fp8_blocks},
                                                       {"FP8_PER_CHANNEL_PER_TOKEN", Layout::fp8_rows, 0, "8-bit"},
                                                       {"MXFP8", Layout::fp8_groups, 32, "8-bit"},
                                                       {"NVFP4", Layout::nvfp4, 16, "4-bit"},
                                                       {"NVFP4_AWQ", Layout::nvfp4, 16, "4-bit"},
                                                       {"W4A16_NVFP4", Layout::nvfp4, 16}});

std::string algorithm_name(const LayerSettings& settings) {
  std::string name = settings.text(kAlgorithm, {});
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

const Algorithm* read_algorithm(const LayerSettings& settings) {
  const auto found = std::ranges::find(kAlgorithms, algorithm_name(settings), &Algorithm::name);
  if (found == kAlgorithms.end()) {
    std::string known(kMixed);
    for (const Algorithm& each : kAlgorithms) known.append(", ").append(each.name);
    settings.refuse(kAlgorithm, "what is read here: " + known);
  }
  if (found->group != 0) settings.whole_number("group_size", {found->group}, found->group);
  return &*found;
}

// Older files have all settings in an object of their own.
LayerSettings settings_of_weights(const LayerSettings& settings) {
  return settings.find("quantization") != nullptr ? settings.inner("quantization") : settings;
}

class ModeloptScheme final : public LayerScheme {
 public:
  explicit ModeloptScheme(const LayerSettings& all)
      : ModeloptScheme(settings_of_weights(all), all.find("quantization") != nullptr) {}

  std::string_view program() const override { return "ModelOpt"; }

  std::string_view layer_of(const StoredTensor& tensor) const override {
    return tensor.type_name == "U8" || tensor.type_name.starts_with("F8_E") ? layer_before(tensor, kWeight)
                                                                            : std::string_view();
  }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const Algorithm* const algorithm = algorithm_of(tensors.layer());
    if (algorithm == nullptr)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: holds codes, and {} does not name it", tensors.where(), kLayers));
    for (const std::string_view role : {".pre_quant_scale", ".svdquant_lora_a"})
      if (tensors.find(role) != nullptr)
        throw Error(ErrorKind::unsupported,
                    fmt::format("{}: has {}, which changes its inputs or its result and is not read here",
                                tensors.where(), role.substr(1)));
    return algorithm->layout == Layout::nvfp4 ? read_nvfp4_floats(tensors) : read_floats(tensors, algorithm->layout);
  }

  bool is_passed_over(const StoredTensor& tensor) const override {
    return has_ending(tensor, {".k_scale", ".v_scale"});
  }

  Said says_of(std::string_view layer) const override {
    const Said said = said_by(left_, layer);
    return said != Said::has_codes || algorithm_of(layer) != nullptr ? said : Said::nothing;
  }
  std::string_view key_of(std::string_view) const override { return left_.key(); }

  std::string shape_settings(std::string_view layer) const override {
    const Algorithm* const algorithm = algorithm_of(layer);
    return algorithm == nullptr ? std::string() : fmt::format("{} {}", kAlgorithm, algorithm->name);
  }

  std::vector<std::string> notes() const override { return notes_; }

 private:
  ModeloptScheme(const LayerSettings& settings, bool is_older)
      : left_(settings, is_older ? "exclude_modules" : "ignore", ModuleList::Spelling::globs) {
    if (algorithm_name(settings) != kMixed) {
      all_ = read_algorithm(settings);
      add_note(*all_, settings);
    } else {
      const LayerSettings layers = settings.inner(kLayers);
      if (!layers.json().is_object()) settings.refuse(kLayers, "an object is meant");
      for (const auto& [name, value] : layers.json().items()) {
        own_.emplace(name, read_algorithm(layers.inner(name)));
        add_note(*own_.at(name), settings);
      }
    }
    const std::string_view cache = is_older ? "kv_cache_quant_algo" : "kv_cache_scheme";
    if (settings.find(cache) != nullptr)
      notes_.push_back(fmt::format("keys and values are not rounded as {} asks ({})", cache, settings.place()));
  }

  void add_note(const Algorithm& algorithm, const LayerSettings& settings) {
    if (algorithm.inputs.empty()) return;
    std::string note = fmt::format(
        "the inputs of Linears are not rounded to {} floats as {} asks ({}); the weights alone are as they are meant",
        algorithm.inputs, kAlgorithm, settings.place());
    if (std::ranges::find(notes_, note) == notes_.end()) notes_.push_back(std::move(note));
  }

  const Algorithm* algorithm_of(std::string_view layer) const {
    if (all_ != nullptr) return all_;
    const auto own = own_.find(layer);
    return own == own_.end() ? nullptr : own->second;
  }

  static LayerWeight read_floats(LayerTensors& tensors, Layout algorithm) {
    Fp8Layout layout{PlanarGrain::tensor, 0, 0, kScale.substr(1)};
    TensorView scales = tensors.need(kScale);
    if (algorithm == Layout::fp8_rows) layout.grain = PlanarGrain::row;
    if (algorithm == Layout::fp8_groups) {
      layout.grain = PlanarGrain::group;
      layout.cols = 32;
    }
    if (algorithm == Layout::fp8_blocks) {
      layout = {PlanarGrain::block, 128, 128, kScale.substr(1)};
      // [rows of blocks, 1, columns of blocks, 1]
      if (scales.shape.size() == 4 && scales.shape[1] == 1 && scales.shape[3] == 1)
        scales.shape = {scales.shape[0], scales.shape[2]};
    }
    return {read_fp8(layout, {tensors.need(kWeight), scales}, tensors.where())};
  }

  static LayerWeight read_nvfp4_floats(LayerTensors& tensors) {
    const TensorView whole = tensors.need(kFactor);
    require_tensor(whole, kFactor.substr(1), DType::f32, whole.shape.empty() ? Shape{} : Shape{1}, tensors.where());
    float factor;
    std::memcpy(&factor, whole.bytes.data(), sizeof factor);
    LayerWeight weight{read_nvfp4(
        {tensors.need(kWeight), tensors.need(kScale), factor, kWeight.substr(1), kScale.substr(1)}, tensors.where())};
    if (weight.values.format()->name() != "nvfp4")
      weight.widened = "blocks of nvfp4 do not divide their rows, so that both scales are multiplied out";
    return weight;
  }

  ModuleList left_;
  const Algorithm* all_ = nullptr;  // null: each layer's own
  std::map<std::string, const Algorithm*, std::less<>> own_;
  std::vector<std::string> notes_;
};

}  // namespace

std::unique_ptr<LayerScheme> read_modelopt_scheme(const LayerSettings& settings) {
  return std::make_unique<ModeloptScheme>(settings);
}

}  // namespace nibble
