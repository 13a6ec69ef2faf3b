// SPDX-License-Identifier: Apache-2.0
//
// AWQ: P.qweight, P.qzeros and P.scales (io/packing/awq.h). Older programs wrote quant_config.json, whose keys have
// other names.
#include <fmt/format.h>

#include "io/layers/layer_scheme.h"
#include "io/packing/awq.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class AwqScheme final : public LayerScheme {
 public:
  explicit AwqScheme(const LayerSettings& settings) {
    const bool is_older = settings.find("w_bit") != nullptr;
    settings.whole_number(is_older ? "w_bit" : "bits", {4});
    layout_.group = settings.group_size(is_older ? "q_group_size" : "group_size");
    const std::string version = settings.text("version", {"gemm", "GEMM", "gemv", "GEMV"}, "gemm");
    layout_.version = version == "gemm" || version == "GEMM" ? AwqVersion::gemm : AwqVersion::gemv;
    has_zeros_ = settings.flag("zero_point", true);
  }

  std::string_view program() const override { return "AWQ"; }
  std::string_view layer_of(const StoredTensor& tensor) const override { return layer_before(tensor, ".qweight"); }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const AwqTensors parts{tensors.need(".qweight"), tensors.need(".qzeros"), tensors.need(".scales")};
    LayerWeight weight{read_awq(layout_, parts, tensors.where())};
    if (!has_zeros_ && weight.values.format()->name().find(":asym") != std::string::npos)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: qzeros has zero points other than 8, although the configuration says that there are "
                              "none (zero_point); set zero_point to true if they are meant",
                              tensors.where()));
    return weight;
  }

 private:
  AwqLayout layout_;
  bool has_zeros_ = true;
};

}  // namespace

std::unique_ptr<LayerScheme> read_awq_scheme(const LayerSettings& settings) {
  return std::make_unique<AwqScheme>(settings);
}

}  // namespace nibble
