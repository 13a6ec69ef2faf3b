// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/gptq_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "io/json_text.h"
#include "io/message_text.h"
#include "io/safetensors/layer_assembly.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kCodes = ".qweight";

// Settings of GPTQ; null: not these.
std::optional<GptqPlan> plan_of(const Json& settings) {
  if (!settings.is_object()) return std::nullopt;
  const auto integer = [&](const char* key) -> std::optional<std::int64_t> {
    const auto found = settings.find(key);
    return found != settings.end() && found->is_number_integer() ? std::optional(found->get<std::int64_t>())
                                                                 : std::nullopt;
  };
  const auto says = [&](const char* key, std::initializer_list<std::string_view> values) {
    const auto found = settings.find(key);
    return found == settings.end() || found->is_null() ||
           (found->is_string() && std::ranges::find(values, found->get<std::string>()) != values.end());
  };
  if (!says("quant_method", {"gptq"})) return std::nullopt;
  for (const char* const key : {"checkpoint_format", "format"})
    if (!says(key, {"gptq", "gptq_v2"})) return std::nullopt;
  if (const auto own = settings.find("dynamic"); own != settings.end() && !own->empty()) return std::nullopt;
  const auto bits = integer("bits"), group = integer("group_size");
  if (!bits || !group || (*bits != 2 && *bits != 3 && *bits != 4 && *bits != 8)) return std::nullopt;
  if (*group != -1 && (*group < 1 || *group > (1 << 20))) return std::nullopt;
  GptqPlan plan;
  plan.layout.bits = static_cast<unsigned>(*bits);
  plan.layout.group = *group == -1 ? 0 : static_cast<std::uint32_t>(*group);
  for (const char* const key : {"checkpoint_format", "format"})
    if (const auto form = settings.find(key); form != settings.end() && *form == "gptq_v2")
      plan.layout.zeros = GptqZeros::as_they_are;
  const auto symmetric = settings.find("sym");
  plan.is_symmetric = symmetric != settings.end() && symmetric->is_boolean() && symmetric->get<bool>();
  return plan;
}

class GptqAssembler {
 public:
  GptqAssembler(const std::vector<StoredTensor>& tensors, const GptqPlan& plan, const std::string& directory)
      : tensors_(tensors), plan_(plan), directory_(directory) {
    for (std::size_t i = 0; i < tensors.size(); ++i) by_name_.emplace(tensors[i].name, i);
  }

  // The layer whose codes these are, of whose tensors layers is told.
  StoredTensor weight_of(const StoredTensor& codes, AssembledLayers& layers) const {
    const std::string layer = codes.name.substr(0, codes.name.size() - kCodes.size());
    const std::string where = fmt::format("{}: layer {}", directory_, quote_name(layer));
    StoredTensor weight;
    weight.name = layer + ".weight";
    if (by_name_.contains(weight.name))
      throw Error(ErrorKind::corrupt, fmt::format("{}: is stored both as it is and in codes of GPTQ", where));
    const auto take = [&](std::string_view suffix) -> std::optional<TensorView> {
      const auto found = by_name_.find(layer + std::string(suffix));
      if (found == by_name_.end()) return std::nullopt;
      const StoredTensor& tensor = tensors_[found->second];
      const TensorView view = view_of_part(tensor, suffix.substr(1), where);
      layers.take(found->second);
      weight.bytes += tensor.bytes;
      return view;
    };
    const auto need = [&](std::string_view suffix) {
      auto tensor = take(suffix);
      if (!tensor) throw Error(ErrorKind::corrupt, fmt::format("{}: {} is missing", where, suffix.substr(1)));
      return *std::move(tensor);
    };
    const GptqTensors tensors{need(kCodes), need(".qzeros"), need(".scales"), take(".g_idx")};
    weight.values = read_gptq(plan_.layout, tensors, where);
    const FormatPtr& format = weight.values.format();
    if (plan_.is_symmetric && format->name().find(":asym") != std::string::npos)
      throw Error(ErrorKind::corrupt, fmt::format("{}: has zero points of its own, although the configuration says "
                                                  "that there are none (sym); set sym to false if they are meant",
                                                  where));
    weight.shape = {weight.values.rows(), weight.values.cols()};
    weight.type_name = format->name();
    weight.file = codes.file;
    weight.offset = codes.offset;
    return weight;
  }

 private:
  const std::vector<StoredTensor>& tensors_;
  const GptqPlan& plan_;
  const std::string& directory_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
};

}  // namespace

bool has_gptq_layers(const std::vector<StoredTensor>& tensors) {
  return std::ranges::any_of(tensors, [](const StoredTensor& tensor) { return tensor.name.ends_with(kCodes); });
}

std::optional<GptqPlan> read_gptq_plan(const std::string& config_json,
                                       const std::optional<std::string>& quantize_config,
                                       const std::string& directory) {
  if (!config_json.empty()) {
    const Json config = parse_json(config_json, directory + "/config.json");
    if (config.is_object())
      if (const auto settings = config.find("quantization_config"); settings != config.end()) {
        const auto method = settings->is_object() ? settings->find("quant_method") : settings->end();
        if (method == settings->end() || *method != "gptq") return std::nullopt;  // another program's
        return plan_of(*settings);
      }
  }
  return quantize_config ? plan_of(parse_json(*quantize_config, directory + "/quantize_config.json")) : std::nullopt;
}

void assemble_gptq_layers(std::vector<StoredTensor>& tensors, const GptqPlan& plan, const std::string& directory) {
  const GptqAssembler assembler(tensors, plan, directory);
  AssembledLayers layers(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].name.ends_with(kCodes)) layers.put(i, assembler.weight_of(tensors[i], layers));
  layers.replace(tensors);
}

}  // namespace nibble
