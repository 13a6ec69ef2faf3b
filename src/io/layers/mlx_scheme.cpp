// SPDX-License-Identifier: Apache-2.0
//
// MLX: P.weight in words, P.scales and, in the mode "affine", P.biases (io/packing/mlx.h). Embeddings are quantized as
// Linears are. Layers may have settings of their own, under their names. Experts lie in stacks [experts, out, in].
#include <fmt/format.h>

#include <array>
#include <map>

#include "io/layers/layer_scheme.h"
#include "io/packing/fp8.h"
#include "io/packing/mlx.h"
#include "io/packing/mxfp4.h"
#include "io/packing/nvfp4.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWeight = ".weight", kScales = ".scales";

enum class MlxMode : std::uint8_t { affine, mxfp4, mxfp8, nvfp4 };

struct MlxLayer {
  MlxMode mode = MlxMode::affine;
  MlxLayout layout;
};

MlxLayer read_layer(const LayerSettings& settings) {
  struct Mode {
    std::string_view name;
    MlxMode mode;
    std::int64_t bits, group;  // that it always has
  };
  constexpr auto kModes = std::to_array<Mode>(
      {{"mxfp4", MlxMode::mxfp4, 4, 32}, {"mxfp8", MlxMode::mxfp8, 8, 32}, {"nvfp4", MlxMode::nvfp4, 4, 16}});
  const std::string name = settings.text("mode", {"affine", "mxfp4", "mxfp8", "nvfp4"}, "affine");
  for (const Mode& mode : kModes)
    if (mode.name == name) {
      settings.whole_number("bits", {mode.bits}, mode.bits);
      settings.whole_number("group_size", {mode.group}, mode.group);
      return {mode.mode, {}};
    }
  const auto bits = static_cast<unsigned>(settings.whole_number("bits", {2, 3, 4, 5, 6, 8}));
  const std::uint32_t group = settings.group_size();
  if (group == 0) settings.refuse("group_size", "groups need a size");
  return {MlxMode::affine, {bits, group}};
}

class MlxScheme final : public LayerScheme {
 public:
  explicit MlxScheme(const LayerSettings& settings) : all_(read_layer(settings)) {
    for (const auto& [key, value] : settings.json().items()) {
      if (value.is_object()) own_.emplace(key, read_layer(settings.inner(key)));
      if (value.is_boolean() && !value.get<bool>()) own_.emplace(key, std::nullopt);
    }
  }

  std::string_view program() const override { return "MLX"; }

  std::string_view layer_of(const StoredTensor& tensor) const override {
    return tensor.type_name == "U32" ? layer_before(tensor, kWeight) : std::string_view();
  }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const auto own = own_.find(tensors.layer());
    if (own != own_.end() && !own->second)
      throw Error(ErrorKind::corrupt, fmt::format("{}: holds codes, although the configuration says that it is not "
                                                  "quantized",
                                                  tensors.where()));
    const MlxLayer& layer = own != own_.end() ? *own->second : all_;
    const TensorView words = tensors.need(kWeight), scales = tensors.need(kScales);
    if (scales.shape.size() < 2 || words.shape.size() != scales.shape.size() || words.bytes.empty())
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: weight and scales should be matrices, or stacks of them, but are {} and {}",
                              tensors.where(), shape_text(words.shape), shape_text(scales.shape)));
    LayerWeight weight = read_matrix(layer, flattened(words), flattened(scales), tensors);
    weight.shape = scales.shape;
    weight.shape.back() = weight.values.cols();
    return weight;
  }

  std::string shape_settings(std::string_view name) const override {
    const auto own = own_.find(name);
    const MlxLayer& layer = own != own_.end() && own->second ? *own->second : all_;
    return layer.mode == MlxMode::affine ? fmt::format("bits {}, {}", layer.layout.bits, group_text(layer.layout.group))
                                         : std::string();
  }

 private:
  // A stack's matrices one below the other.
  static TensorView flattened(TensorView stack) {
    if (stack.shape.empty()) return stack;
    std::uint64_t rows = 1;
    for (std::size_t i = 0; i + 1 < stack.shape.size(); ++i) rows *= stack.shape[i];
    stack.shape = {rows, stack.shape.back()};
    return stack;
  }

  static LayerWeight read_matrix(const MlxLayer& layer, const TensorView& words, const TensorView& scales,
                                 LayerTensors& tensors) {
    if (layer.mode == MlxMode::affine)
      return {read_mlx(layer.layout, {words, scales, flattened(tensors.need(".biases"))}, tensors.where())};
    const TensorView bytes{DType::u8, {words.shape[0], words.bytes.size() / words.shape[0]}, words.bytes};
    return read_floats(layer.mode, bytes, scales, tensors.where());
  }

  static LayerWeight read_floats(MlxMode mode, TensorView codes, const TensorView& scales, const std::string& where) {
    if (mode == MlxMode::mxfp8) {
      codes.dtype = DType::f8_e4m3;
      return {read_fp8({PlanarGrain::group, 0, 32, "scales"}, {codes, scales}, where)};
    }
    if (mode == MlxMode::mxfp4) {
      if (codes.shape != Shape{scales.shape[0], scales.shape[1] * 16})
        throw Error(ErrorKind::corrupt,
                    fmt::format("{}: weight does not fit scales {}", where, shape_text(scales.shape)));
      codes.shape = {scales.shape[0], scales.shape[1], 16};
      return {read_mxfp4({codes, scales}, where)};
    }
    LayerWeight weight{read_nvfp4({codes, scales, std::nullopt, kWeight.substr(1), kScales.substr(1)}, where)};
    if (weight.values.format()->name() != "nvfp4")
      weight.widened = "blocks of nvfp4 do not divide their rows, so that scales are widened";
    return weight;
  }

  MlxLayer all_;
  std::map<std::string, std::optional<MlxLayer>, std::less<>> own_;  // nothing: not quantized
};

}  // namespace

std::unique_ptr<LayerScheme> read_mlx_scheme(const LayerSettings& settings) {
  return std::make_unique<MlxScheme>(settings);
}

}  // namespace nibble
