// SPDX-License-Identifier: Apache-2.0
//
// GPTQ: P.qweight, P.qzeros, P.scales, P.g_idx (io/packing/gptq.h). The settings of most layers stand for all, those of
// others, and what stays as it is, in "dynamic", as GPTQModel reads it.
#include <fmt/format.h>

#include <algorithm>

#include "format/planar/planes.h"
#include "io/layers/writers/layer_writer.h"
#include "io/packing/gptq.h"
#include "io/packing/planar_words.h"

namespace nibble {
namespace {

// A module's whole name as an expression.
std::string expression_of(std::string_view module) {
  std::string text = "^";
  for (const char letter : module) text += letter == '.' ? std::string("\\.") : std::string(1, letter);
  return text + "$";
}

class GptqWriter final : public LayerWriter {
 public:
  explicit GptqWriter(GptqZeros zeros) : zeros_(zeros) {
    layout_.bits = {2, 3, 4, 8};
    layout_.takes_asymmetric = zeros == GptqZeros::as_they_are;
    layout_.row_multiple = 32;
    layout_.fills_words = true;
  }

  std::string_view program() const noexcept override {
    return zeros_ == GptqZeros::less_one ? "the container gptq" : "the container gptq_v2";
  }
  std::string refusal(const PlannedTensor& matrix) const override {
    const std::string why = refuse_integers(matrix, layout_, program());
    const PlanarSpec* const spec = planar_spec(matrix);
    const bool is_asymmetric = spec != nullptr && spec->is_asymmetric && zeros_ == GptqZeros::less_one;
    return why.empty() || !is_asymmetric ? why : why + ", and gptq_v2 those with zero points";
  }
  std::vector<std::string> mixed_formats() const override {
    return {"int2:g64", "int3:g128", "int4:g128", "int4:g32", "int8:g128"};
  }
  std::string nearest(const PlannedTensor& matrix) const override { return nearest_integers(matrix, layout_); }
  bool takes_part(TensorPart part) const noexcept override { return part == TensorPart::input_order; }

  std::vector<LayerTensorPlan> tensors(const PlannedTensor& matrix, const LayerPlan&) const override {
    const PlanarSpec& spec = *planar_spec(matrix);
    const std::uint64_t rows = matrix.shape[0], cols = matrix.shape[1], groups = num_groups(cols, group_of(spec));
    return {{".qweight", DType::i32, {cols * spec.bits / 32, rows}},
            {".qzeros", DType::i32, {groups, rows * spec.bits / 32}},
            {".scales", scale_dtype(spec.scale), {groups, rows}},
            {".g_idx", DType::i32, {cols}}};
  }

  std::vector<Tensor> pack(const QuantizedView& matrix, const LayerPlan&, const std::string& where) const override {
    GptqPacked packed = pack_gptq(matrix, zeros_, where);
    std::vector<Tensor> tensors;
    for (Tensor* const one : {&packed.qweight, &packed.qzeros, &packed.scales, &packed.g_idx})
      tensors.push_back(std::move(*one));
    return tensors;
  }

  Json settings(const LayerPlan& plan) const override {
    const std::vector<LayerClass> classes = classes_of(plan);
    const auto own = [](const LayerClass& one) -> Json {
      const PlanarSpec& spec = *planar_spec(*one.matrices.front());
      return {{"bits", spec.bits},
              {"group_size", spec.grain == PlanarGrain::row ? -1 : static_cast<std::int64_t>(spec.group)}};
    };
    Json config = {{"quant_method", "gptq"}};
    if (!classes.empty()) config.update(own(classes.front()));
    config["sym"] = std::ranges::none_of(plan.coded, [](const auto& one) { return planar_spec(one)->is_asymmetric; });
    config["desc_act"] = std::ranges::any_of(plan.coded, has_order);
    config["checkpoint_format"] = zeros_ == GptqZeros::less_one ? "gptq" : "gptq_v2";
    config["lm_head"] = false;
    // vLLM looks for the modules that it makes of several, too.
    Json dynamic = Json::object();
    const auto add = [&dynamic](std::string_view sign, std::string_view module, const Json& value) {
      for (const std::string& name : {std::string(module), joined_module(module)})
        if (!name.empty()) dynamic[std::string(sign) + expression_of(name)] = value;
    };
    for (std::size_t i = 1; i < classes.size(); ++i)
      for (const PlannedTensor* const matrix : classes[i].matrices)
        if (own(classes[i]) != own(classes.front())) add("+:", module_of(matrix->name), own(classes[i]));
    for (const std::string& module : plan.plain)
      if (module != kHead) add("-:", module, Json::object());
    if (!dynamic.empty()) config["dynamic"] = std::move(dynamic);
    return {{"quantization_config", std::move(config)}};
  }

  std::vector<std::string> notes(const LayerPlan& plan) const override {
    const bool is_common = std::ranges::all_of(plan.coded, [&](const PlannedTensor& matrix) {
      const PlanarSpec& spec = *planar_spec(matrix);
      return spec.bits == 4 && !spec.is_asymmetric && zeros_ == GptqZeros::less_one;
    });
    std::vector<std::string> notes;
    if (!is_common)
      notes.emplace_back(
          "GPTQModel and transformers read this; vLLM takes GPTQ on a CPU in 4 bits alone, symmetric and by the first "
          "layout (int4:g128 in the container gptq)");
    if (std::ranges::any_of(plan.coded, is_expert)) notes.emplace_back(kExpertsNote);
    for (std::string& note : vllm_obstacles(plan)) notes.push_back(std::move(note));
    return notes;
  }

 private:
  GptqZeros zeros_;
  IntegerLayout layout_;
};

}  // namespace

const LayerWriter& gptq_writer() {
  static const GptqWriter writer(GptqZeros::less_one);
  return writer;
}

const LayerWriter& gptq_v2_writer() {
  static const GptqWriter writer(GptqZeros::as_they_are);
  return writer;
}

}  // namespace nibble
