// SPDX-License-Identifier: Apache-2.0
//
// compressed-tensors: P.weight_packed in place of P.weight, or P.weight in few bits, with P.weight_scale and what else
// the format has beside them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/layers/compressed_tensors_groups.h"
#include "io/layers/layer_scheme.h"
#include "io/packing/compressed_tensors.h"
#include "io/packing/fp8.h"
#include "io/packing/int8_rows.h"
#include "io/packing/mxfp4.h"
#include "io/packing/nvfp4.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Kind = CompressionGroup::Kind;

constexpr std::string_view kPacked = ".weight_packed", kWeight = ".weight", kScale = ".weight_scale",
                           kZero = ".weight_zero_point";

[[noreturn]] void contradict(const LayerTensors& tensors, const std::string& what) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", tensors.where(), what));
}

// The symmetric ones of some writers have zero points all the same, which are 0.
std::optional<TensorView> take_zeros(LayerTensors& tensors, const CompressionGroup& group) {
  const auto zeros = tensors.take(kZero);
  if (group.is_symmetric) {
    if (zeros && std::ranges::any_of(zeros->bytes, [](std::byte byte) { return byte != std::byte{0}; }))
      contradict(tensors, fmt::format("weight_zero_point is there, although config_groups.{} says that the layer is "
                                      "symmetric; set symmetric to false if it is meant",
                                      group.name));
    return std::nullopt;
  }
  if (!zeros)
    contradict(tensors, fmt::format("weight_zero_point is missing, although config_groups.{} says that the layer is "
                                    "not symmetric",
                                    group.name));
  return zeros;
}

// U8 [out, in / 2] as the blocks of OpenAI's MXFP4.
TensorView as_blocks(TensorView codes, const TensorView& scales) {
  codes.shape = scales.shape;
  codes.shape.push_back(codes.shape.empty() ? 0 : 16);
  return codes;
}

TensorSource read_packed(LayerTensors& tensors, const CompressionGroup& group) {
  PackQuantizedTensors parts{tensors.need(kPacked), tensors.need(kScale), tensors.need(".weight_shape")};
  parts.weight_zero_point = take_zeros(tensors, group);
  parts.weight_g_idx = tensors.take(".weight_g_idx");
  return read_pack_quantized({group.bits, group.group}, parts, tensors.where());
}

TensorSource read_bytes(LayerTensors& tensors, const CompressionGroup& group) {
  const Int8Tensors parts{tensors.need(kWeight), tensors.need(kScale), take_zeros(tensors, group)};
  return read_int8({.group = group.group}, parts, tensors.where());
}

TensorSource read_floats(LayerTensors& tensors, const CompressionGroup& group) {
  take_zeros(tensors, group);
  return read_fp8({group.grain, group.block_rows, group.group, "weight_scale"},
                  {tensors.need(kWeight), tensors.need(kScale)}, tensors.where());
}

TensorSource read_mxfp4_floats(LayerTensors& tensors) {
  const TensorView codes = tensors.need(kPacked), scales = tensors.need(kScale);
  if (scales.shape.size() != 2 || codes.shape != Shape{scales.shape[0], scales.shape[1] * 16})
    contradict(tensors, fmt::format("weight_packed {} does not fit weight_scale {}", shape_text(codes.shape),
                                    shape_text(scales.shape)));
  return read_mxfp4({as_blocks(codes, scales), scales}, tensors.where());
}

TensorSource read_nvfp4_floats(LayerTensors& tensors) {
  const TensorView codes = tensors.need(kPacked), scales = tensors.need(kScale),
                   whole = tensors.need(".weight_global_scale");
  if (whole.dtype != DType::f32 || whole.bytes.size() != sizeof(float))
    contradict(tensors, fmt::format("weight_global_scale should be one element of F32 but is {} {}",
                                    dtype_name(whole.dtype), shape_text(whole.shape)));
  float divisor;
  std::memcpy(&divisor, whole.bytes.data(), sizeof divisor);
  tensors.take(".input_global_scale");
  return read_nvfp4({codes, scales, 1 / divisor}, tensors.where());
}

// "8-bit floats with a scale for each layer".
std::string cache_words(const LayerSettings& cache) {
  const std::string type = cache.text("type", {}, "int"), strategy = cache.text("strategy", {}, "tensor");
  return fmt::format("{}-bit {} with {}", cache.whole_number("num_bits", {}, 8),
                     type == "float" ? "floats"
                     : type == "int" ? "integers"
                                     : type,
                     cache.flag("dynamic", false) ? "scales of each token"
                     : strategy == "tensor"       ? "a scale for each layer"
                     : strategy == "attn_head"    ? "a scale for each head"
                                                  : "scales by " + strategy);
}

class CompressedTensorsScheme final : public LayerScheme {
 public:
  explicit CompressedTensorsScheme(const LayerSettings& settings) : groups_(settings) {
    if (settings.find("kv_cache_scheme") != nullptr) cache_ = cache_words(settings.inner("kv_cache_scheme"));
  }

  std::string_view program() const override { return "compressed-tensors"; }

  std::string_view layer_of(const StoredTensor& tensor) const override {
    if (const auto layer = layer_before(tensor, kPacked); !layer.empty()) return layer;
    constexpr std::array<std::string_view, 5> kPlain = {"F16", "BF16", "F32", "F64", "I64"};
    return std::ranges::find(kPlain, tensor.type_name) == kPlain.end() ? layer_before(tensor, kWeight)
                                                                       : std::string_view();
  }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const CompressionGroup* const group = groups_.find(tensors.layer());
    if (group == nullptr) contradict(tensors, "holds codes, and no group's targets name it (config_groups)");
    const bool is_packed = tensors.find(kPacked) != nullptr,
               should_be = group->kind == Kind::packed || group->kind == Kind::nvfp4 || group->kind == Kind::mxfp4;
    if (group->kind == Kind::dense || is_packed != should_be)
      contradict(tensors, fmt::format("holds {}, although config_groups.{} says {}",
                                      is_packed ? "weight_packed" : "codes in weight", group->name, group->format));
    LayerWeight weight{read_values(tensors, *group)};
    if (group->kind == Kind::nvfp4 && weight.values.format()->name() != "nvfp4")
      weight.widened = "blocks of nvfp4 do not divide their rows, so that both scales are multiplied out";
    return weight;
  }

  Said says_of(std::string_view layer) const override {
    const ModuleList& ignored = groups_.ignored();
    const Said said = said_by(ignored, layer);
    if (ignored.is_there() && said != Said::has_codes) return said;
    const CompressionGroup* const group = groups_.find_target(layer);
    return group != nullptr && group->kind != Kind::dense ? Said::has_codes : Said::nothing;
  }
  std::string_view key_of(std::string_view) const override { return groups_.ignored().key(); }

  std::string shape_settings(std::string_view layer) const override {
    const CompressionGroup* const group = groups_.find(layer);
    if (group == nullptr) return {};
    const std::string grain = group->grain == PlanarGrain::block
                                  ? fmt::format("block_structure [{}, {}]", group->block_rows, group->group)
                              : group->grain == PlanarGrain::group  ? group_text(group->group)
                              : group->grain == PlanarGrain::tensor ? "strategy tensor"
                                                                    : "strategy channel";
    return fmt::format("config_groups.{}.weights: num_bits {}, {}", group->name, group->bits, grain);
  }

  bool is_passed_over(const StoredTensor& tensor) const override {
    return has_ending(tensor, {".k_scale", ".v_scale", ".q_scale", ".k_zero_point", ".v_zero_point", ".q_zero_point",
                               ".k_proj.output_scale", ".v_proj.output_scale"});
  }

  std::optional<ActivationFormat> activations() const override {
    std::optional<ActivationFormat> common;
    for (const CompressionGroup& group : groups_.all()) {
      if (group.kind == Kind::dense) continue;
      if (!group.activations || (common && *common != *group.activations)) return std::nullopt;
      common = group.activations;
    }
    return common;
  }

  std::vector<std::string> notes() const override {
    std::vector<std::string> notes;
    const bool any = std::ranges::any_of(groups_.all(), &CompressionGroup::rounds_inputs);
    if (any && !activations())
      notes.emplace_back(
          "the inputs of Linears are quantized in a way that has no equal here (input_activations in "
          "config.json); the weights alone are as they are meant");
    if (!cache_.empty())
      notes.push_back(fmt::format(
          "keys and values are not kept as kv_cache_scheme in config.json asks, in {}: caches here have scales of "
          "their own for 32 channels of each position (--kv)",
          cache_));
    return notes;
  }

  std::vector<std::string> idle_notes(std::span<const std::string> modules) const override {
    return groups_.idle_notes(modules);
  }

 private:
  static TensorSource read_values(LayerTensors& tensors, const CompressionGroup& group) {
    switch (group.kind) {
      case Kind::packed:
        return read_packed(tensors, group);
      case Kind::int8:
        return read_bytes(tensors, group);
      case Kind::fp8:
      case Kind::mxfp8:
        return read_floats(tensors, group);
      case Kind::mxfp4:
        return read_mxfp4_floats(tensors);
      case Kind::nvfp4:
        return read_nvfp4_floats(tensors);
      case Kind::dense:
        break;
    }
    return {};
  }

  CompressionGroups groups_;
  std::string cache_;  // how keys and values are meant to be kept; empty: nothing is said
};

}  // namespace

std::unique_ptr<LayerScheme> read_compressed_tensors_scheme(const LayerSettings& settings) {
  return std::make_unique<CompressedTensorsScheme>(settings);
}

}  // namespace nibble
