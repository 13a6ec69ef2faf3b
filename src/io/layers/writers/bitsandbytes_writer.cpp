// SPDX-License-Identifier: Apache-2.0
//
// bitsandbytes: P.weight in NF4 or FP4 with P.weight.absmax and its relatives (io/packing/bitsandbytes.h), in blocks of
// 32, 64, ... 4096, or in signed bytes with P.SCB, the largest magnitude of each row (LLM.int8,
// io/packing/int8_rows.h). One kind of codes for all layers.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "io/checkpoint.h"
#include "io/layers/writers/layer_writer.h"
#include "io/packing/bitsandbytes.h"
#include "io/packing/int8_rows.h"

namespace nibble {
namespace {

class BitsandbytesWriter final : public LayerWriter {
 public:
  std::string_view program() const noexcept override { return "the container bitsandbytes"; }

  std::string refusal(const PlannedTensor& matrix) const override {
    const PlanarSpec* const spec = planar_spec(matrix);
    if (are_bytes(matrix)) return {};
    if (spec == nullptr || (spec->points != PlanarPoints::nf4 && spec->points != PlanarPoints::fp4) ||
        spec->grain != PlanarGrain::group || (spec->scale != ScaleType::f32 && spec->scale != ScaleType::dq))
      return fmt::format(
          "{} holds int8:row:amax, and nf4 or fp4 in groups with scales of f32, or doubly quantized (dq)", program());
    if (!std::has_single_bit(spec->group) || spec->group < 32 || spec->group > 4096)
      return fmt::format("{} has blocks of 32, 64, ... 4096", program());
    if (matrix_size(matrix.shape).cols % spec->group != 0)
      return fmt::format("groups divide the inputs in {}, of which '{}' has {}", program(), matrix.name,
                         matrix.shape.back());
    return {};
  }

  // LLM.int8 stores scales times 127, which not every number is.
  FormatPtr own_form(const FormatPtr& format) const override {
    return format->name() == "int8:row" ? find_format(kBytes) : format;
  }

  std::vector<std::string> mixed_formats() const override { return {"nf4:g64:f32"}; }
  std::string nearest(const PlannedTensor& matrix) const override {
    const PlanarSpec* const given = planar_spec(matrix);
    if (given != nullptr && given->points == PlanarPoints::integer && given->bits == 8) return std::string(kBytes);
    PlanarSpec spec;
    spec.points = given != nullptr && given->points == PlanarPoints::fp4 ? PlanarPoints::fp4 : PlanarPoints::nf4;
    spec.scale = given != nullptr && given->scale == ScaleType::dq ? ScaleType::dq : ScaleType::f32;
    for (const std::uint32_t group : {64u, 128u, 256u, 32u})
      if (matrix_size(matrix.shape).cols % group == 0) {
        spec.group = group;
        return planar_name(spec);
      }
    return {};
  }

  std::string conflict(const LayerPlan& plan) const override {
    const auto kind = [](const PlannedTensor& matrix) {
      return fmt::format("{}{}", kind_of(*planar_spec(matrix)), is_double(matrix) ? ":dq" : "");
    };
    for (const PlannedTensor& matrix : plan.coded)
      if (kind(matrix) != kind(plan.coded.front()))
        return fmt::format("bitsandbytes has one kind of codes for all layers, and there are {} and {}",
                           plan.coded.front().format->name(), matrix.format->name());
    return {};
  }

  std::vector<LayerTensorPlan> tensors(const PlannedTensor& matrix, const LayerPlan&) const override {
    if (are_bytes(matrix))
      return {{".weight", DType::i8, matrix.shape},
              {".SCB", DType::f32, {matrix.shape[0]}},
              {".weight_format", DType::u8, {}}};
    const PlanarSpec& spec = *planar_spec(matrix);
    const std::uint64_t numbers = matrix.shape[0] * matrix.shape[1], blocks = numbers / spec.group;
    std::vector<LayerTensorPlan> list = {
        {".weight", DType::u8, {numbers / 2, 1}},
        {".weight.absmax", is_double(matrix) ? DType::u8 : DType::f32, {blocks}},
        {".weight.quant_map", DType::f32, {16}},
        {fmt::format(".weight.quant_state.bitsandbytes__{}", kind_of(spec)), DType::u8, {kBitsandbytesState}}};
    if (is_double(matrix)) {
      list.push_back({".weight.nested_absmax", DType::f32, {(blocks + kBitsandbytesNested - 1) / kBitsandbytesNested}});
      list.push_back({".weight.nested_quant_map", DType::f32, {256}});
    }
    return list;
  }

  std::vector<Tensor> pack(const QuantizedView& matrix, const LayerPlan&, const std::string& where) const override {
    if (find_planar_spec(*matrix.format)->scale == ScaleType::amax) {
      Int8Packed bytes = pack_int8({.are_amax = true}, matrix, where);
      bytes.scales.shape = {matrix.rows};
      return {std::move(bytes.weight), std::move(bytes.scales), {DType::u8, {}, {kRowMajor}}};
    }
    BitsandbytesPacked packed = pack_bitsandbytes(matrix, "float32", where);
    std::vector<Tensor> tensors;
    for (Tensor* const one : {&packed.weight, &packed.absmax, &packed.quant_map, &packed.quant_state})
      tensors.push_back(std::move(*one));
    for (auto* const one : {&packed.nested_absmax, &packed.nested_quant_map})
      if (*one) tensors.push_back(*std::move(*one));
    return tensors;
  }

  std::string reads_as(const PlannedTensor& matrix) const override {
    PlanarSpec spec = *planar_spec(matrix);
    if (spec.scale == ScaleType::dq) spec.scale = ScaleType::f32;  // scales that are quantized themselves are decoded
    return planar_name(spec);
  }

  Json settings(const LayerPlan& plan) const override {
    if (!plan.coded.empty() && are_bytes(plan.coded.front()))
      return {{"quantization_config",
               {{"quant_method", "bitsandbytes"},
                {"load_in_4bit", false},
                {"load_in_8bit", true},
                {"llm_int8_threshold", 6.0},
                {"llm_int8_has_fp16_weight", false},
                {"llm_int8_enable_fp32_cpu_offload", false},
                {"llm_int8_skip_modules", plan.plain}}}};
    const PlanarSpec spec = plan.coded.empty() ? PlanarSpec{} : *planar_spec(plan.coded.front());
    Json config = {{"quant_method", "bitsandbytes"},
                   {"load_in_4bit", true},
                   {"load_in_8bit", false},
                   {"bnb_4bit_quant_type", kind_of(spec)},
                   {"bnb_4bit_use_double_quant", spec.scale == ScaleType::dq},
                   {"bnb_4bit_compute_dtype", "float32"},
                   {"bnb_4bit_quant_storage", "uint8"},
                   {"llm_int8_skip_modules", plan.plain}};
    return {{"quantization_config", std::move(config)}};
  }

  std::vector<std::string> notes(const LayerPlan& plan) const override {
    if (std::ranges::none_of(plan.coded, is_expert)) return {};
    return {std::string(kExpertsNote)};
  }

 private:
  static constexpr std::string_view kBytes = "int8:row:amax";
  static constexpr std::byte kRowMajor{0};
  static bool are_bytes(const PlannedTensor& matrix) { return matrix.format->name() == kBytes; }
  static bool is_double(const PlannedTensor& matrix) { return planar_spec(matrix)->scale == ScaleType::dq; }
  static std::string_view kind_of(const PlanarSpec& spec) {
    return spec.points == PlanarPoints::integer ? "int8" : spec.points == PlanarPoints::fp4 ? "fp4" : "nf4";
  }
};

}  // namespace

const LayerWriter& bitsandbytes_writer() {
  static const BitsandbytesWriter writer;
  return writer;
}

}  // namespace nibble
