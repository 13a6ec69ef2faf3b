// SPDX-License-Identifier: Apache-2.0
//
// AWQ: P.qweight, P.qzeros and P.scales (io/packing/awq.h). Older programs wrote quant_config.json, whose keys have
// other names. Modules may have settings of their own.
#include <fmt/format.h>

#include "io/layers/dynamic_settings.h"
#include "io/layers/layer_scheme.h"
#include "io/packing/awq.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class AwqScheme final : public LayerScheme {
 public:
  explicit AwqScheme(const LayerSettings& settings) : left_(settings, "modules_to_not_convert"), dynamic_(settings) {
    const bool is_older = settings.find("w_bit") != nullptr;
    settings.whole_number(is_older ? "w_bit" : "bits", {4});
    const std::string_view group_key = is_older ? "q_group_size" : "group_size";
    layout_.group = settings.group_size(group_key);
    const std::string version = settings.text("version", {"gemm", "GEMM", "gemv", "GEMV"}, "gemm");
    layout_.version = version == "gemm" || version == "GEMM" ? AwqVersion::gemm : AwqVersion::gemv;
    has_zeros_ = settings.flag("zero_point", true);
    for (const DynamicSettings::Rule& rule : dynamic_.rules()) {
      const LayerSettings& own = rule.own ? *rule.own : settings;
      own.whole_number("bits", {4}, 4);
      own_groups_.push_back(own.group_size(group_key));
    }
  }

  std::string_view program() const override { return "AWQ"; }
  std::string_view layer_of(const StoredTensor& tensor) const override { return layer_before(tensor, ".qweight"); }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const AwqTensors parts{tensors.need(".qweight"), tensors.need(".qzeros"), tensors.need(".scales")};
    LayerWeight weight{read_awq({group_of(tensors.layer()), layout_.version}, parts, tensors.where())};
    if (!has_zeros_ && has_zero_points(weight))
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: qzeros has zero points other than 8, although the configuration says that there are "
                              "none (zero_point); set zero_point to true if they are meant",
                              tensors.where()));
    return weight;
  }

  Said says_of(std::string_view layer) const override {
    const DynamicSettings::Rule* const rule = dynamic_.find(layer);
    return rule == nullptr ? said_by(left_, layer) : rule->own ? Said::has_codes : Said::has_none;
  }
  std::string_view key_of(std::string_view layer) const override {
    return dynamic_.find(layer) != nullptr ? DynamicSettings::kKey : std::string_view(left_.key());
  }
  std::string shape_settings(std::string_view layer) const override { return group_text(group_of(layer)); }

 private:
  std::uint32_t group_of(std::string_view layer) const {
    const DynamicSettings::Rule* const rule = dynamic_.find(layer);
    return rule == nullptr ? layout_.group : own_groups_[static_cast<std::size_t>(rule - dynamic_.rules().data())];
  }

  AwqLayout layout_;
  ModuleList left_;
  DynamicSettings dynamic_;
  std::vector<std::uint32_t> own_groups_;  // one for each rule
  bool has_zeros_ = true;
};

}  // namespace

std::unique_ptr<LayerScheme> read_awq_scheme(const LayerSettings& settings) {
  return std::make_unique<AwqScheme>(settings);
}

}  // namespace nibble
