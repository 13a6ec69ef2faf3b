// SPDX-License-Identifier: Apache-2.0
//
// MXFP4 as gpt-oss is released in: X_blocks and X_scales in place of X (io/packing/mxfp4.h).
#include "io/layers/layer_scheme.h"
#include "io/packing/mxfp4.h"

namespace nibble {
namespace {

class Mxfp4Scheme final : public LayerScheme {
 public:
  explicit Mxfp4Scheme(const LayerSettings& settings) : left_(settings, "modules_to_not_convert") {}

  std::string_view program() const override { return "MXFP4"; }
  std::string_view layer_of(const StoredTensor& tensor) const override { return layer_before(tensor, "_blocks"); }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const Mxfp4Tensors parts{tensors.need("_blocks"), tensors.need("_scales")};
    LayerWeight weight{read_mxfp4(parts, tensors.where()), parts.scales.shape, tensors.layer()};
    weight.shape.back() = weight.values.cols();
    return weight;
  }

  Said says_of(std::string_view layer) const override { return said_by(left_, layer); }
  std::string_view key_of(std::string_view) const override { return left_.key(); }

 private:
  ModuleList left_;
};

}  // namespace

std::unique_ptr<LayerScheme> read_mxfp4_scheme(const LayerSettings& settings) {
  return std::make_unique<Mxfp4Scheme>(settings);
}

}  // namespace nibble
