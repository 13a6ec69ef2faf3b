// SPDX-License-Identifier: Apache-2.0
//
// GPTQ: P.qweight, P.qzeros, P.scales and perhaps P.g_idx (io/packing/gptq.h).
#include <fmt/format.h>

#include "io/layers/layer_scheme.h"
#include "io/packing/gptq.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class GptqScheme final : public LayerScheme {
 public:
  explicit GptqScheme(const LayerSettings& settings) {
    layout_.bits = static_cast<unsigned>(settings.whole_number("bits", {2, 3, 4, 8}));
    layout_.group = settings.group_size();
    // Older and newer programs name the same.
    for (const char* const key : {"checkpoint_format", "format"})
      if (settings.text(key, {"gptq", "gptq_v2"}, "gptq") == "gptq_v2") layout_.zeros = GptqZeros::as_they_are;
    if (const auto* own = settings.find("dynamic"); own != nullptr && !own->empty())
      settings.refuse("dynamic", "settings of layers of their own are not read here");
    is_symmetric_ = settings.flag("sym", false);
    has_order_ = settings.flag("desc_act", false);
  }

  std::string_view program() const override { return "GPTQ"; }
  std::string_view layer_of(const StoredTensor& tensor) const override { return layer_before(tensor, ".qweight"); }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const GptqTensors parts{tensors.need(".qweight"), tensors.need(".qzeros"), tensors.need(".scales"),
                            has_order_ ? tensors.need(".g_idx") : tensors.take(".g_idx")};
    LayerWeight weight{read_gptq(layout_, parts, tensors.where())};
    // Some programs then look at no zero point.
    if (is_symmetric_ && weight.values.format()->name().find(":asym") != std::string::npos)
      throw Error(ErrorKind::corrupt, fmt::format("{}: has zero points of its own, although the configuration says "
                                                  "that there are none (sym); set sym to false if they are meant",
                                                  tensors.where()));
    return weight;
  }

 private:
  GptqLayout layout_;
  bool is_symmetric_ = false, has_order_ = false;
};

}  // namespace

std::unique_ptr<LayerScheme> read_gptq_scheme(const LayerSettings& settings) {
  return std::make_unique<GptqScheme>(settings);
}

}  // namespace nibble
