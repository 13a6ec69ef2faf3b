// SPDX-License-Identifier: Apache-2.0
//
// GPTQ: P.qweight, P.qzeros, P.scales and perhaps P.g_idx (io/packing/gptq.h). Modules may have settings of their own.
#include <fmt/format.h>

#include "io/layers/dynamic_settings.h"
#include "io/layers/layer_scheme.h"
#include "io/packing/gptq.h"
#include "nibble/error.h"

namespace nibble {
namespace {

struct GptqLayer {
  GptqLayout layout;
  bool is_symmetric = false, has_order = false;
};

GptqLayer read_layer(const LayerSettings& settings) {
  GptqLayer layer;
  layer.layout.bits = static_cast<unsigned>(settings.whole_number("bits", {2, 3, 4, 8}));
  layer.layout.group = settings.group_size();
  // Older and newer programs name the same.
  for (const char* const key : {"checkpoint_format", "format"})
    if (settings.text(key, {"gptq", "gptq_v2"}, "gptq") == "gptq_v2") layer.layout.zeros = GptqZeros::as_they_are;
  layer.is_symmetric = settings.flag("sym", false);
  layer.has_order = settings.flag("desc_act", false);
  return layer;
}

class GptqScheme final : public LayerScheme {
 public:
  explicit GptqScheme(const LayerSettings& settings) : all_(read_layer(settings)), dynamic_(settings) {
    for (const DynamicSettings::Rule& rule : dynamic_.rules()) own_.push_back(rule.own ? read_layer(*rule.own) : all_);
  }

  std::string_view program() const override { return "GPTQ"; }
  std::string_view layer_of(const StoredTensor& tensor) const override { return layer_before(tensor, ".qweight"); }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const GptqLayer& layer = layer_named(tensors.layer());
    const GptqTensors parts{tensors.need(".qweight"), tensors.need(".qzeros"), tensors.need(".scales"),
                            layer.has_order ? tensors.need(".g_idx") : tensors.take(".g_idx")};
    LayerWeight weight{read_gptq(layer.layout, parts, tensors.where())};
    // Some programs then look at no zero point.
    if (layer.is_symmetric && has_zero_points(weight))
      throw Error(ErrorKind::corrupt, fmt::format("{}: has zero points of its own, although the configuration says "
                                                  "that there are none (sym); set sym to false if they are meant",
                                                  tensors.where()));
    return weight;
  }

  // Of modules without a rule readers go by what is there: some have no codes because too few inputs reached them.
  Said says_of(std::string_view layer) const override {
    const DynamicSettings::Rule* const rule = dynamic_.find(layer);
    return rule == nullptr ? Said::nothing : rule->own ? Said::has_codes : Said::has_none;
  }
  std::string_view key_of(std::string_view) const override { return DynamicSettings::kKey; }

  std::string shape_settings(std::string_view layer) const override {
    const GptqLayout& layout = layer_named(layer).layout;
    return fmt::format("bits {}, {}", layout.bits, group_text(layout.group));
  }

 private:
  const GptqLayer& layer_named(std::string_view layer) const {
    const DynamicSettings::Rule* const rule = dynamic_.find(layer);
    return rule == nullptr ? all_ : own_[static_cast<std::size_t>(rule - dynamic_.rules().data())];
  }

  GptqLayer all_;
  DynamicSettings dynamic_;
  std::vector<GptqLayer> own_;  // one for each rule
};

}  // namespace

std::unique_ptr<LayerScheme> read_gptq_scheme(const LayerSettings& settings) {
  return std::make_unique<GptqScheme>(settings);
}

}  // namespace nibble
