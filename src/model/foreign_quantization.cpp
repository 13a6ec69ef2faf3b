// SPDX-License-Identifier: Apache-2.0
#include "model/foreign_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "io/json_text.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

struct Trace {
  std::string_view ending, method;
};

// Names that only quantized layers have, and whose they are where the configuration does not say. The more telling come
// first.
constexpr std::array kTraces = {
    Trace{".codes", "nibble; give the directory, whose config.json says how"},
    Trace{".g_idx", "GPTQ"},
    Trace{".qzeros", "GPTQ or AWQ"},
    Trace{".qweight", "GPTQ or AWQ"},
    Trace{".weight_packed", "compressed-tensors"},
    Trace{".weight_global_scale", "compressed-tensors"},
    Trace{".weight_scale_inv", "FP8 in blocks"},
    Trace{".weight_scale", "FP8 or INT8 with scales"},
    Trace{".weight_format", "bitsandbytes"},
    Trace{".SCB", "bitsandbytes"},
    Trace{".quant_map", "bitsandbytes"},
    Trace{".absmax", "bitsandbytes"},
    Trace{".W_q", "HQQ"},
    Trace{".q_weight", "EXL2"},
    Trace{".trellis", "EXL3"},
    Trace{".codebooks", "AQLM"},
    Trace{".Qidxs", "QuIP#"},
    Trace{"_blocks", "MXFP4"},
    Trace{".scales", "MLX"},
};

// Elements that are codes when a matrix of weights has them.
bool holds_codes(const StoredTensor& tensor) {
  constexpr std::array<std::string_view, 11> kTypes = {"U8",      "I8",      "I16",         "U16",         "I32", "U32",
                                                       "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4"};
  return tensor.name.ends_with(".weight") && tensor.shape.size() > 1 && !tensor.values.format() &&
         std::ranges::find(kTypes, tensor.type_name) != kTypes.end();
}

// ChatGLM's own code rounds the weights of its layers to 8 bits, or packs 4, and says so by a key of its own.
void refuse_chatglm_codes(const Checkpoint& checkpoint) {
  constexpr const char* kBits = "quantization_bit";
  if (checkpoint.config_json().empty()) return;
  const std::string source = (checkpoint.path() / "config.json").string();
  const auto config = parse_json(checkpoint.config_json(), source);
  if (!config.is_object() || config.value("model_type", nlohmann::ordered_json()) != "chatglm") return;
  const auto bits = config.find(kBits);
  if (bits == config.end() || bits->is_null() || *bits == 0) return;
  throw Error(
      ErrorKind::unsupported,
      fmt::format("{}: the model is quantized already by ChatGLM's own code, whose codes are not read here; give "
                  "the original in 16 bits; {}: {}",
                  source, kBits, dump_json(*bits).substr(0, 80)));
}

}  // namespace

void refuse_foreign_quantization(const Checkpoint& checkpoint) {
  const LayerReading& reading = checkpoint.layer_reading();
  if (reading.method == "nibble") return;
  refuse_chatglm_codes(checkpoint);
  const StoredTensor* evidence = nullptr;
  std::string_view guess = "another program";
  for (const Trace& trace : kTraces) {
    const auto found = std::ranges::find_if(
        checkpoint.tensors(), [&](const StoredTensor& tensor) { return tensor.name.ends_with(trace.ending); });
    if (found == checkpoint.tensors().end()) continue;
    evidence = &*found;
    guess = trace.method;
    break;
  }
  if (evidence == nullptr)
    if (const auto codes = std::ranges::find_if(checkpoint.tensors(), holds_codes); codes != checkpoint.tensors().end())
      evidence = &*codes;
  if (evidence == nullptr) return;
  const bool is_named = !reading.method.empty();
  throw Error(
      ErrorKind::unsupported,
      fmt::format(
          "{}: the model is quantized already by {} ({}tensor {} in {}), {}{}; give the original in 16 or "
          "32 bits",
          checkpoint.path().string(), is_named ? reading.method : std::string(guess),
          reading.place.empty() ? "" : reading.place + "; ", quote_name(evidence->name), evidence->type_name,
          is_named ? "which is not read here" : "and config.json does not say how (quantization_config, quant_method)",
          reading.refusal.empty() ? "" : fmt::format(" ({})", reading.refusal)));
}

void refuse_tensor_scales(const Checkpoint& checkpoint, std::span<const TensorName> own) {
  constexpr std::string_view kScale = ".scale";
  const auto is_own = [&](std::string_view tensor) {
    return std::ranges::any_of(own, [&](const TensorName& name) {
      const std::size_t number = name.gguf.find("{}");
      return number != std::string_view::npos && tensor.ends_with(name.gguf.substr(number + 2));
    });
  };
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (!tensor.name.ends_with(kScale) || is_own(tensor.name)) continue;
    const std::string weight = tensor.name.substr(0, tensor.name.size() - kScale.size()) + ".weight";
    if (checkpoint.find(weight) == nullptr) continue;
    if (tensor.values.format() && tensor.values.rows() * tensor.values.cols() == 1 &&
        tensor.values.decode().front() == 1)
      continue;
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: tensor {} is a factor of the whole of {}, and such factors are not read here; give "
                            "the original in 16 or 32 bits",
                            checkpoint.path().string(), quote_name(tensor.name), quote_name(weight)));
  }
}

}  // namespace nibble
