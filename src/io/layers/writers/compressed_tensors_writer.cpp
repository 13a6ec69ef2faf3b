// SPDX-License-Identifier: Apache-2.0
//
// compressed-tensors, as llm-compressor writes it: integers of 2 to 8 bits packed into words, bytes where inputs are
// rounded, too, 8-bit floats, NVFP4 and MXFP4 (io/packing). Formats side by side are groups of layers.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "io/layers/writers/layer_writer.h"
#include "io/packing/compressed_tensors.h"
#include "io/packing/fp8.h"
#include "io/packing/int8_rows.h"
#include "io/packing/mxfp4.h"
#include "io/packing/nvfp4.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = LayerWriter::Json;

enum class Kind : std::uint8_t { packed, bytes, floats, mxfp8, mxfp4, nvfp4 };

constexpr std::string_view kMxfp4 = "mxfp4", kMxfp8 = "fp8:g32:e8m0", kNvfp4 = "nvfp4";
// By Kind.
constexpr std::string_view kFormats[] = {"pack-quantized",  "int-quantized",        "float-quantized",
                                         "mxfp8-quantized", "mxfp4-pack-quantized", "nvfp4-pack-quantized"};

// Bytes are multiplied as they are where inputs are bytes, too. spec: null where the format is a block's.
Kind kind_of(std::string_view format, const PlanarSpec* spec, bool is_ordered, const LayerPlan& plan) {
  if (format == kMxfp4) return Kind::mxfp4;
  if (format == kNvfp4) return Kind::nvfp4;
  if (format == kMxfp8) return Kind::mxfp8;
  if (spec->points != PlanarPoints::integer) return Kind::floats;
  return plan.activations && spec->bits == 8 && !is_ordered ? Kind::bytes : Kind::packed;
}

Json weights_of(const LayerClass& one) {
  const PlannedTensor& matrix = *one.matrices.front();
  Json weights = {{"num_bits", 4},       {"type", "float"},  {"symmetric", true},
                  {"strategy", "group"}, {"group_size", 32}, {"dynamic", false}};
  if (matrix.format->name() == kMxfp4) {
    weights["scale_dtype"] = "torch.uint8";
    return weights;
  }
  if (matrix.format->name() == kNvfp4) {
    weights.update({{"strategy", "tensor_group"}, {"group_size", 16}, {"scale_dtype", "torch.float8_e4m3fn"}});
    return weights;
  }
  const PlanarSpec& spec = *planar_spec(matrix);
  weights["num_bits"] = spec.bits;
  if (matrix.format->name() == kMxfp8) weights["scale_dtype"] = "torch.uint8";
  if (spec.points == PlanarPoints::integer) weights["type"] = "int";
  weights["symmetric"] = !spec.is_asymmetric;
  weights["group_size"] = spec.grain == PlanarGrain::group ? Json(spec.group) : Json();
  switch (spec.grain) {
    case PlanarGrain::group:
      break;
    case PlanarGrain::row:
      weights["strategy"] = "channel";
      break;
    case PlanarGrain::tensor:
      weights["strategy"] = "tensor";
      break;
    case PlanarGrain::block:
      weights["strategy"] = "block";
      weights["block_structure"] = {spec.block_rows, spec.group};
      break;
  }
  if (one.is_ordered) weights["actorder"] = "group";
  return weights;
}

Json inputs_of(const ActivationFormat& format) {
  Json inputs = {{"num_bits", 8}, {"type", "int"}, {"symmetric", !format.is_asymmetric}};
  if (format.is_static()) {
    inputs.update({{"strategy", "tensor"}, {"dynamic", false}});
  } else if (format.grain == ActivationGrain::token) {
    inputs.update({{"strategy", "token"}, {"dynamic", true}});
  } else {
    inputs.update({{"strategy", "group"}, {"group_size", format.run}, {"dynamic", true}});
  }
  return inputs;
}

class CompressedTensorsWriter final : public LayerWriter {
 public:
  CompressedTensorsWriter() {
    layout_.bits = {2, 3, 4, 5, 6, 7, 8};
    layout_.takes_asymmetric = layout_.takes_f32 = true;
  }

  std::string_view program() const noexcept override { return "the container compressed-tensors"; }
  bool takes_head() const noexcept override { return true; }
  bool takes_part(TensorPart part) const noexcept override {
    return part == TensorPart::input_order || part == TensorPart::tensor_scale;
  }

  std::string refusal(const PlannedTensor& matrix) const override {
    const std::string& name = matrix.format->name();
    if (name == kNvfp4 && matrix.parts && matrix.parts->tensor_scale && !nvfp4_divisor(*matrix.parts->tensor_scale))
      return fmt::format("{} stores the inverse of a tensor's scale, and {} is the inverse of no number", program(),
                         *matrix.parts->tensor_scale);
    if (name == kMxfp4 || name == kNvfp4) return {};
    const PlanarSpec* const spec = planar_spec(matrix);
    if (spec != nullptr && spec->points == PlanarPoints::fp8_e4m3) {
      const bool is_held =
          spec->scale == ScaleType::f32 || spec->scale == ScaleType::f16 || spec->scale == ScaleType::bf16;
      const bool is_cut = spec->grain == PlanarGrain::group;
      if ((is_held && !is_cut) || name == kMxfp8) return {};
      return fmt::format(
          "{} holds 8-bit floats with scales of f32, f16 or bf16 for rows, blocks or the tensor, and fp8:g32:e8m0",
          program());
    }
    if (spec != nullptr && spec->points != PlanarPoints::integer)
      return fmt::format("{} holds integers, 8-bit floats (fp8), mxfp4 and nvfp4", program());
    return refuse_integers(matrix, layout_, program());
  }

  std::vector<std::string> mixed_formats() const override { return {"int4:g128", "int4:g32", "int8:g128"}; }
  std::string nearest(const PlannedTensor& matrix) const override {
    const PlanarSpec* const spec = planar_spec(matrix);
    const bool is_float8 =
        spec != nullptr && (spec->points == PlanarPoints::fp8_e4m3 || spec->points == PlanarPoints::fp8_e5m2);
    return is_float8 ? "fp8:row" : nearest_integers(matrix, layout_);
  }

  bool takes_inputs(const ActivationFormat& inputs) const noexcept override {
    return inputs.wide == WideColumns::none && !(inputs.grain == ActivationGrain::run && inputs.is_asymmetric);
  }

  std::string conflict(const LayerPlan& plan) const override {
    if (!plan.activations) return {};
    for (const PlannedTensor& matrix : plan.coded)
      if (const PlanarSpec* const spec = planar_spec(matrix); spec == nullptr || spec->points != PlanarPoints::integer)
        return fmt::format("compressed-tensors rounds inputs to 8-bit integers beside integers alone: {}",
                           matrix.format->name());
    return {};
  }

  std::vector<LayerTensorPlan> tensors(const PlannedTensor& matrix, const LayerPlan& plan) const override {
    const std::uint64_t rows = matrix.shape[0], cols = matrix.shape[1];
    switch (kind_of(matrix.format->name(), planar_spec(matrix), has_order(matrix), plan)) {
      case Kind::mxfp4:
        return {{".weight_packed", DType::u8, {rows, cols / 2}}, {".weight_scale", DType::u8, {rows, cols / 32}}};
      case Kind::nvfp4:
        return {{".weight_packed", DType::u8, {rows, cols / 2}},
                {".weight_scale", DType::f8_e4m3, {rows, cols / 16}},
                {".weight_global_scale", DType::f32, {1}}};
      case Kind::mxfp8:
        return {{".weight", DType::f8_e4m3, {rows, cols}}, {".weight_scale", DType::u8, {rows, cols / 32}}};
      case Kind::floats:
        return {{".weight", DType::f8_e4m3, {rows, cols}},
                {".weight_scale", scale_dtype(planar_spec(matrix)->scale),
                 fp8_scale_shape(*planar_spec(matrix), rows, cols)}};
      case Kind::bytes: {
        const PlanarSpec& spec = *planar_spec(matrix);
        const Shape scales = {rows, num_groups(cols, group_of(spec))};
        std::vector<LayerTensorPlan> list = {{".weight", DType::i8, {rows, cols}},
                                             {".weight_scale", scale_dtype(spec.scale), scales}};
        if (spec.is_asymmetric) list.push_back({".weight_zero_point", DType::i8, scales});
        return list;
      }
      case Kind::packed:
        break;
    }
    const PlanarSpec& spec = *planar_spec(matrix);
    const std::uint64_t groups = num_groups(cols, group_of(spec));
    std::vector<LayerTensorPlan> list = {{".weight_packed", DType::i32, {rows, num_words(cols, spec.bits)}},
                                         {".weight_scale", scale_dtype(spec.scale), {rows, groups}},
                                         {".weight_shape", DType::i64, {2}}};
    if (spec.is_asymmetric) list.push_back({".weight_zero_point", DType::i32, {num_words(rows, spec.bits), groups}});
    if (has_order(matrix)) list.push_back({".weight_g_idx", DType::i32, {cols}});
    return list;
  }

  std::vector<Tensor> pack(const QuantizedView& matrix, const LayerPlan& plan,
                           const std::string& where) const override {
    switch (kind_of(matrix.format->name(), find_planar_spec(*matrix.format),
                    matrix.parts && !matrix.parts->input_order.empty(), plan)) {
      case Kind::mxfp4: {
        Mxfp4Packed packed = pack_mxfp4(matrix, where);
        return {std::move(packed.blocks), std::move(packed.scales)};
      }
      case Kind::nvfp4: {
        Nvfp4Packed packed = pack_nvfp4(matrix, where);
        const float divisor =
            matrix.parts && matrix.parts->tensor_scale ? nvfp4_divisor(*matrix.parts->tensor_scale).value() : 1;
        Tensor whole = blank_tensor(DType::f32, {1});
        std::memcpy(whole.bytes.data(), &divisor, sizeof divisor);
        return {std::move(packed.codes), std::move(packed.scales), std::move(whole)};
      }
      case Kind::mxfp8:
      case Kind::floats: {
        Fp8Packed packed = pack_fp8(matrix, where);
        if (matrix.format->name() == kMxfp8) packed.scales.dtype = DType::u8;
        return {std::move(packed.weight), std::move(packed.scales)};
      }
      case Kind::bytes: {
        Int8Packed packed = pack_int8({}, matrix, where);
        std::vector<Tensor> tensors = {std::move(packed.weight), std::move(packed.scales)};
        if (packed.zero_points) tensors.push_back(*std::move(packed.zero_points));
        return tensors;
      }
      case Kind::packed:
        break;
    }
    PackQuantizedPacked packed = pack_pack_quantized(matrix, where);
    std::vector<Tensor> tensors = {std::move(packed.weight_packed), std::move(packed.weight_scale),
                                   std::move(packed.weight_shape)};
    for (auto* const one : {&packed.weight_zero_point, &packed.weight_g_idx})
      if (*one) tensors.push_back(*std::move(*one));
    return tensors;
  }

  Json settings(const LayerPlan& plan) const override {
    Json groups = Json::object();
    std::string common;
    for (const LayerClass& one : classes_of(plan)) {
      const PlannedTensor& matrix = *one.matrices.front();
      const Kind kind = kind_of(one.format, planar_spec(matrix), one.is_ordered, plan);
      const std::string_view format = kFormats[static_cast<std::size_t>(kind)];
      common = common.empty() || common == format ? format : "mixed-precision";
      // All Linears but those that other groups name; vLLM's head is none of them.
      const bool is_first = groups.empty();
      Json targets = Json::array();
      if (is_first) targets.push_back("Linear");
      for (const PlannedTensor* const own : one.matrices)
        if (const std::string_view module = module_of(own->name); !is_first || module == kHead)
          targets.push_back(module);
      groups[fmt::format("group_{}", groups.size())] = {
          {"format", format},
          {"targets", std::move(targets)},
          {"weights", weights_of(one)},
          {"input_activations", plan.activations ? inputs_of(*plan.activations) : Json()},
          {"output_activations", nullptr}};
    }
    Json config = {{"quant_method", "compressed-tensors"},
                   {"format", common},
                   {"quantization_status", "compressed"},
                   {"config_groups", std::move(groups)},
                   {"ignore", plan.plain},
                   {"kv_cache_scheme", nullptr},
                   {"sparsity_config", Json::object()},
                   {"transform_config", Json::object()}};
    return {{"quantization_config", std::move(config)}};
  }

  std::vector<std::string> vllm_obstacles(const LayerPlan& plan) const override {
    std::vector<std::string> obstacles = LayerWriter::vllm_obstacles(plan);
    if (std::string note = inputs_note(plan); !note.empty()) obstacles.insert(obstacles.begin(), std::move(note));
    return obstacles;
  }

  std::vector<std::string> notes(const LayerPlan& plan) const override {
    std::vector<std::string> notes;
    const auto any = [&](auto&& is) { return std::ranges::any_of(plan.coded, is); };
    const auto is_packed = [&](const PlannedTensor& matrix) {
      return kind_of(matrix.format->name(), planar_spec(matrix), has_order(matrix), plan) == Kind::packed;
    };
    if (any([&](const PlannedTensor& matrix) { return is_packed(matrix) && planar_spec(matrix)->is_asymmetric; }))
      notes.emplace_back(
          "vLLM reads packed integers with zero points; transformers 5.24 loads them with "
          "CompressedTensorsConfig(dequantize=True) alone");
    if (any([&](const PlannedTensor& matrix) { return is_packed(matrix) && planar_spec(matrix)->bits != 4; }))
      notes.emplace_back("transformers reads packed integers of other widths than 4 bits; vLLM on a CPU does not");
    const auto is_fp8 = [](const PlannedTensor& matrix) {
      const PlanarSpec* const spec = planar_spec(matrix);
      return spec != nullptr && spec->points == PlanarPoints::fp8_e4m3;
    };
    for (std::string& note : vllm_obstacles(plan)) notes.push_back(std::move(note));
    if (any(is_fp8))
      notes.emplace_back("vLLM runs 8-bit floats on a GPU; on a CPU it wants their inputs in 8 bits, too");
    if (any([](const PlannedTensor& matrix) { return is_expert(matrix) && matrix.format->name() == kNvfp4; }))
      notes.emplace_back("transformers 5.24 forgets the global scale of experts in NVFP4, and gives other logits");
    return notes;
  }

 private:
  // What vLLM does not have of rounded inputs.
  static std::string inputs_note(const LayerPlan& plan) {
    if (!plan.activations) return {};
    const bool is_run = plan.activations->grain == ActivationGrain::run;
    const auto is_known = [&](const PlannedTensor& matrix) {
      const PlanarSpec& spec = *planar_spec(matrix);
      return spec.bits != 8 || (spec.grain == PlanarGrain::row && !spec.is_asymmetric);
    };
    if (is_run || !std::ranges::all_of(plan.coded, is_known))
      return "vLLM has inputs in 8 bits beside int8:row alone, with a8:token or a8:static";
    const auto is_head = [](const PlannedTensor& matrix) { return module_of(matrix.name) == kHead; };
    return std::ranges::any_of(plan.coded, is_head) ? "vLLM reads no head in codes whose inputs are rounded" : "";
  }

  IntegerLayout layout_;
};

}  // namespace

const LayerWriter& compressed_tensors_writer() {
  static const CompressedTensorsWriter writer;
  return writer;
}

}  // namespace nibble
