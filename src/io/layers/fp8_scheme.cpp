// SPDX-License-Identifier: Apache-2.0
//
// FP8 as DeepSeek's, Qwen's and Mistral's checkpoints have it: P.weight in 8-bit floats with P.weight_scale_inv, one
// for each block or one for all, or with P.weight_scale, which is the same by another name.
#include <fmt/format.h>

#include <algorithm>

#include "io/layers/layer_scheme.h"
#include "io/packing/fp8.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWeight = ".weight";

class Fp8Scheme final : public LayerScheme {
 public:
  explicit Fp8Scheme(const LayerSettings& settings) : left_(settings, "modules_to_not_convert") {
    rounds_inputs_ = settings.text("activation_scheme", {}, "dynamic") != "none";
    const auto* const block = settings.find("weight_block_size");
    if (block == nullptr) return;
    const auto is_size = [](const LayerSettings::Json& item) {
      return item.is_number_unsigned() && item.get<std::uint64_t>() >= 1 && item.get<std::uint64_t>() <= 1u << 20;
    };
    if (!block->is_array() || block->size() != 2 || !is_size((*block)[0]) || !is_size((*block)[1]))
      settings.refuse("weight_block_size", "rows and columns of a block are meant, as in [128, 128]");
    layout_.emplace();
    layout_->rows = (*block)[0].get<std::uint32_t>();
    layout_->cols = (*block)[1].get<std::uint32_t>();
  }

  std::string_view program() const override { return "FP8"; }

  std::string_view layer_of(const StoredTensor& tensor) const override {
    return tensor.type_name.starts_with("F8_E") ? layer_before(tensor, kWeight) : std::string_view();
  }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    constexpr std::string_view kInverse = ".weight_scale_inv", kScale = ".weight_scale";
    const bool is_inverse = tensors.find(kInverse) != nullptr || tensors.find(kScale) == nullptr;
    const TensorView weight = tensors.need(kWeight), scales = tensors.need(is_inverse ? kInverse : kScale);
    Fp8Layout layout = layout_.value_or(Fp8Layout{});
    layout.scales = (is_inverse ? kInverse : kScale).substr(1);
    if (!layout_) {
      // One for all, or where programs wrote it so, one for each row.
      const bool is_one = std::ranges::all_of(scales.shape, [](std::uint64_t extent) { return extent == 1; });
      layout.grain = is_one ? PlanarGrain::tensor : PlanarGrain::row;
    }
    return LayerWeight{read_fp8(layout, {weight, scales}, tensors.where())};
  }

  bool is_passed_over(const StoredTensor& tensor) const override {
    return has_ending(tensor, {".activation_scale", ".k_scale", ".v_scale"});
  }

  std::vector<std::string> notes() const override {
    if (!rounds_inputs_) return {};
    return {
        "the inputs of Linears are not rounded to 8-bit floats as activation_scheme in config.json asks; the weights "
        "alone are as they are meant"};
  }

  Said says_of(std::string_view layer) const override { return said_by(left_, layer); }
  std::string_view key_of(std::string_view) const override { return left_.key(); }
  std::string shape_settings(std::string_view) const override {
    return layout_ ? fmt::format("weight_block_size [{}, {}]", layout_->rows, layout_->cols) : "no weight_block_size";
  }

 private:
  std::optional<Fp8Layout> layout_;  // none: no blocks
  ModuleList left_;
  bool rounds_inputs_ = true;
};

}  // namespace

std::unique_ptr<LayerScheme> read_fp8_scheme(const LayerSettings& settings) {
  return std::make_unique<Fp8Scheme>(settings);
}

}  // namespace nibble
