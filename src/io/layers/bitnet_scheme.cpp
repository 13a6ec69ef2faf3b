// SPDX-License-Identifier: Apache-2.0
//
// BitNet: P.weight in bytes of four ternary codes and P.weight_scale (io/packing/bitnet.h); inputs are rounded to 8
// bits token by token.
#include "io/layers/layer_scheme.h"
#include "io/packing/bitnet.h"

namespace nibble {
namespace {

class BitnetScheme final : public LayerScheme {
 public:
  explicit BitnetScheme(const LayerSettings& settings) : left_(settings, "modules_to_not_convert") {
    layout_.divides = settings.text("linear_class", {"bitlinear", "autobitlinear"}, "bitlinear") == "bitlinear";
    settings.text("quantization_mode", {"offline"}, "offline");
    if (settings.flag("use_rms_norm", false)) settings.refuse("use_rms_norm", "norms within Linears are not read here");
  }

  std::string_view program() const override { return "BitNet"; }

  std::string_view layer_of(const StoredTensor& tensor) const override {
    return tensor.type_name == "U8" ? layer_before(tensor, ".weight") : std::string_view();
  }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const BitnetTensors parts{tensors.need(".weight"), tensors.need(".weight_scale")};
    return LayerWeight{read_bitnet(layout_, parts, tensors.where())};
  }

  Said says_of(std::string_view layer) const override { return said_by(left_, layer); }
  std::string_view key_of(std::string_view) const override { return left_.key(); }

  std::optional<ActivationFormat> activations() const override {
    ActivationFormat format;
    format.grain = ActivationGrain::token;
    return format;
  }

 private:
  BitnetLayout layout_;
  ModuleList left_;
};

}  // namespace

std::unique_ptr<LayerScheme> read_bitnet_scheme(const LayerSettings& settings) {
  return std::make_unique<BitnetScheme>(settings);
}

}  // namespace nibble
