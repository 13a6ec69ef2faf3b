// SPDX-License-Identifier: Apache-2.0
//
// AWQ, version "gemm": P.qweight, P.qzeros, P.scales (io/packing/awq.h). One group size for all layers.
#include <algorithm>

#include "format/planar/planes.h"
#include "io/layers/writers/layer_writer.h"
#include "io/packing/awq.h"
#include "io/packing/planar_words.h"

namespace nibble {
namespace {

class AwqWriter final : public LayerWriter {
 public:
  AwqWriter() {
    layout_.bits = {4};
    layout_.takes_asymmetric = true;
    layout_.row_multiple = 8;
  }

  std::string_view program() const noexcept override { return "the container awq"; }
  std::string refusal(const PlannedTensor& matrix) const override {
    return refuse_integers(matrix, layout_, program());
  }
  std::vector<std::string> mixed_formats() const override { return {"int4:g128"}; }
  std::string nearest(const PlannedTensor& matrix) const override { return nearest_integers(matrix, layout_); }

  std::string conflict(const LayerPlan& plan) const override {
    for (const PlannedTensor& matrix : plan.coded)
      if (group_of(*planar_spec(matrix)) != group_of(*planar_spec(plan.coded.front())))
        return "AWQ has one group size for all layers, and there are " + plan.coded.front().format->name() + " and " +
               matrix.format->name();
    return {};
  }

  std::vector<LayerTensorPlan> tensors(const PlannedTensor& matrix, const LayerPlan&) const override {
    const std::uint64_t rows = matrix.shape[0], cols = matrix.shape[1],
                        groups = num_groups(cols, group_of(*planar_spec(matrix)));
    return {{".qweight", DType::i32, {cols, rows / 8}},
            {".qzeros", DType::i32, {groups, rows / 8}},
            {".scales", scale_dtype(planar_spec(matrix)->scale), {groups, rows}}};
  }

  std::vector<Tensor> pack(const QuantizedView& matrix, const LayerPlan&, const std::string& where) const override {
    AwqPacked packed = pack_awq(matrix, where);
    std::vector<Tensor> tensors;
    for (Tensor* const one : {&packed.qweight, &packed.qzeros, &packed.scales}) tensors.push_back(std::move(*one));
    return tensors;
  }

  Json settings(const LayerPlan& plan) const override {
    const std::uint32_t group = plan.coded.empty() ? 128 : group_of(*planar_spec(plan.coded.front()));
    Json config = {{"quant_method", "awq"},
                   {"bits", 4},
                   {"group_size", group == 0 ? -1 : static_cast<std::int64_t>(group)},
                   {"zero_point", true},
                   {"version", "gemm"},
                   {"modules_to_not_convert", plan.plain}};
    return {{"quantization_config", std::move(config)}};
  }

  std::vector<std::string> notes(const LayerPlan& plan) const override {
    std::vector<std::string> notes;
    if (std::ranges::any_of(plan.coded, is_expert)) notes.emplace_back(kExpertsNote);
    for (std::string& note : vllm_obstacles(plan)) notes.push_back(std::move(note));
    return notes;
  }

 private:
  IntegerLayout layout_;
};

}  // namespace

const LayerWriter& awq_writer() {
  static const AwqWriter writer;
  return writer;
}

}  // namespace nibble
