// SPDX-License-Identifier: Apache-2.0
//
// bitsandbytes: P.weight in bytes with P.weight.absmax and the like (NF4, FP4: io/packing/bitsandbytes.h), or in signed
// bytes with P.SCB (LLM.int8).
#include <fmt/format.h>

#include <array>

#include "io/layers/layer_scheme.h"
#include "io/packing/bitsandbytes.h"
#include "io/packing/int8_rows.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWeight = ".weight";

class BitsandbytesScheme final : public LayerScheme {
 public:
  explicit BitsandbytesScheme(const LayerSettings& settings) : left_(settings, "llm_int8_skip_modules") {
    settings.text("bnb_4bit_quant_storage", {"uint8"}, "uint8");
  }

  std::string_view program() const override { return "bitsandbytes"; }

  std::string_view layer_of(const StoredTensor& tensor) const override {
    return tensor.type_name == "U8" || tensor.type_name == "I8" ? layer_before(tensor, kWeight) : std::string_view();
  }

  std::optional<LayerWeight> read(LayerTensors& tensors) const override {
    const TensorView weight = tensors.need(kWeight);
    if (weight.dtype == DType::i8) {
      const TensorView scales = tensors.need(".SCB");
      if (const auto order = tensors.take(".weight_format"))
        for (const std::byte byte : order->bytes)
          if (byte != std::byte{0})
            throw Error(ErrorKind::unsupported,
                        fmt::format("{}: weight_format is none of rows, which is not read here: {}", tensors.where(),
                                    std::to_integer<int>(byte)));
      return LayerWeight{read_int8({.are_amax = true, .scales = "SCB"}, {weight, scales}, tensors.where())};
    }
    constexpr std::array<std::string_view, 2> kStates = {".weight.quant_state.bitsandbytes__nf4",
                                                         ".weight.quant_state.bitsandbytes__fp4"};
    const std::string_view state = tensors.find(kStates[1]) != nullptr ? kStates[1] : kStates[0];
    const BitsandbytesTensors parts{weight,
                                    tensors.need(".weight.absmax"),
                                    tensors.need(".weight.quant_map"),
                                    tensors.need(state),
                                    tensors.take(".weight.nested_absmax"),
                                    tensors.take(".weight.nested_quant_map")};
    LayerWeight result{read_bitsandbytes(parts, tensors.where())};
    if (parts.is_doubly_quantized()) result.widened = "scales that are quantized themselves are decoded";
    return result;
  }

  Said says_of(std::string_view layer) const override { return said_by(left_, layer); }
  std::string_view key_of(std::string_view) const override { return left_.key(); }

 private:
  ModuleList left_;
};

}  // namespace

std::unique_ptr<LayerScheme> read_bitsandbytes_scheme(const LayerSettings& settings) {
  return std::make_unique<BitsandbytesScheme>(settings);
}

}  // namespace nibble
