// SPDX-License-Identifier: Apache-2.0
//
// MLX: P.weight in words with P.scales and, in the mode "affine", P.biases (io/packing/mlx.h). Layers may have settings
// of their own; embeddings are quantized as Linears are.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "format/planar/planes.h"
#include "io/checkpoint.h"
#include "io/layers/writers/layer_writer.h"
#include "io/packing/fp8.h"
#include "io/packing/mlx.h"
#include "io/packing/mxfp4.h"
#include "io/packing/nvfp4.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

struct Mode {
  std::string_view name;
  unsigned bits;
  std::uint32_t group;
};

class MlxWriter final : public LayerWriter {
 public:
  std::string_view program() const noexcept override { return "the container mlx"; }
  bool takes_embedding() const noexcept override { return true; }
  bool takes_head() const noexcept override { return true; }
  bool stacks_experts() const noexcept override { return true; }

  std::string refusal(const PlannedTensor& matrix) const override {
    const auto mode = mode_of(matrix);
    if (!mode)
      return fmt::format(
          "{} holds integers of 2, 3, 4, 5, 6 or 8 bits with biases in groups of 32, 64 or 128, mxfp4, "
          "nvfp4 and fp8:g32:e8m0",
          program());
    const MatrixSize size = matrix_size(matrix.shape);
    if (size.cols % mode->group != 0)
      return fmt::format("groups divide the inputs in {}, of which '{}' has {}", program(), matrix.name, size.cols);
    return {};
  }

  std::vector<std::string> mixed_formats() const override {
    return {"int2:g64:bias", "int3:g64:bias", "int4:g64:bias", "int4:g32:bias",
            "int5:g64:bias", "int6:g64:bias", "int8:g64:bias"};
  }
  std::string nearest(const PlannedTensor& matrix) const override {
    const MatrixSize size = matrix_size(matrix.shape);
    const PlanarSpec* const given = planar_spec(matrix);
    const auto wanted =
        given != nullptr ? given->bits : static_cast<unsigned>(std::max(2.0, matrix.format->info().bits_per_weight));
    PlanarSpec spec;
    spec.bits = wanted <= 2 ? 2 : wanted >= 7 ? 8 : wanted;
    spec.has_bias = true;
    for (const std::uint32_t group :
         {given != nullptr && given->grain == PlanarGrain::group ? given->group : 64, 64u, 32u})
      if (std::ranges::find(kGroups, group) != kGroups.end() && size.cols % group == 0) {
        spec.group = group;
        return planar_name(spec);
      }
    return {};
  }

  std::string conflict(const LayerPlan& plan) const override {
    if (std::ranges::none_of(plan.coded, is_expert)) return {};
    return "mlx-lm reads experts in codes from stacks, of which it has none for this family; 'nibble quantize "
           "--exclude *experts*' leaves them out";
  }

  std::vector<LayerTensorPlan> tensors(const PlannedTensor& matrix, const LayerPlan&) const override {
    const Mode mode = *mode_of(matrix);
    Shape words = matrix.shape, groups = matrix.shape;
    words.back() = words.back() * mode.bits / 32;
    groups.back() /= mode.group;
    const bool is_affine = mode.name == kAffine;
    const DType scales = is_affine ? scale_dtype(planar_spec(matrix)->scale) : DType::u8;
    std::vector<LayerTensorPlan> list = {{".weight", DType::u32, words}, {".scales", scales, groups}};
    if (is_affine) list.push_back({".biases", scales, groups});
    return list;
  }

  std::vector<Tensor> pack(const QuantizedView& matrix, const LayerPlan&, const std::string& where) const override {
    std::vector<Tensor> tensors;
    if (matrix.format->name() == "mxfp4") {
      Mxfp4Packed packed = pack_mxfp4(matrix, where);
      tensors = {std::move(packed.blocks), std::move(packed.scales)};
    } else if (matrix.format->name() == "nvfp4") {
      Nvfp4Packed packed = pack_nvfp4(matrix, where);
      tensors = {std::move(packed.codes), std::move(packed.scales)};
    } else if (matrix.format->name() == kMxfp8) {
      Fp8Packed packed = pack_fp8(matrix, where);
      tensors = {std::move(packed.weight), std::move(packed.scales)};
    } else {
      MlxPacked packed = pack_mlx(matrix, where);
      tensors = {std::move(packed.weight), std::move(packed.scales), std::move(packed.biases)};
      return tensors;
    }
    tensors[0].dtype = DType::u32;
    tensors[1].dtype = DType::u8;
    return tensors;
  }

  // Programs look for either key.
  Json settings(const LayerPlan& plan) const override {
    const std::vector<LayerClass> classes = classes_of(plan);
    const auto own = [](const LayerClass& one) -> Json {
      const Mode mode = *mode_of(*one.matrices.front());
      return {{"group_size", mode.group}, {"bits", mode.bits}, {"mode", mode.name}};
    };
    Json config = classes.empty() ? Json::object() : own(classes.front());
    for (std::size_t i = 1; i < classes.size(); ++i)
      for (const PlannedTensor* const matrix : classes[i].matrices)
        config[std::string(module_of(matrix->name))] = own(classes[i]);
    for (const std::string& module : plan.plain) config[module] = false;
    return {{"quantization", config}, {"quantization_config", config}};
  }

 private:
  static constexpr std::string_view kAffine = "affine", kMxfp8 = "fp8:g32:e8m0";
  static constexpr std::array<std::uint32_t, 3> kGroups = {32, 64, 128};

  static std::optional<Mode> mode_of(const PlannedTensor& matrix) {
    const std::string& name = matrix.format->name();
    if (name == "mxfp4") return Mode{"mxfp4", 4, 32};
    if (name == "nvfp4") return Mode{"nvfp4", 4, 16};
    if (name == kMxfp8) return Mode{"mxfp8", 8, 32};
    const PlanarSpec* const spec = planar_spec(matrix);
    const bool is_affine = spec != nullptr && spec->points == PlanarPoints::integer && spec->has_bias &&
                           spec->grain == PlanarGrain::group && spec->bits >= 2 && spec->bits != 7 &&
                           std::ranges::find(kGroups, spec->group) != kGroups.end();
    if (!is_affine) return std::nullopt;
    return Mode{kAffine, spec->bits, spec->group};
  }
};

}  // namespace

const LayerWriter& mlx_writer() {
  static const MlxWriter writer;
  return writer;
}

}  // namespace nibble
