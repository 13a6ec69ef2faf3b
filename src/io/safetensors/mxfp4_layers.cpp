// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/mxfp4_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "io/json_text.h"
#include "io/message_text.h"
#include "io/packing/mxfp4.h"
#include "io/safetensors/layer_assembly.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kBlocks = "_blocks", kScales = "_scales";

bool holds_blocks(const StoredTensor& tensor) { return tensor.name.ends_with(kBlocks); }

StoredTensor assemble(const StoredTensor& blocks, const StoredTensor& scales, std::string name,
                      const std::string& where) {
  StoredTensor matrix;
  const auto view = [&](const StoredTensor& part) { return view_of_part(part, quote_name(part.name), where); };
  matrix.values = read_mxfp4({view(blocks), view(scales)}, where);
  matrix.name = std::move(name);
  matrix.shape = scales.shape;
  matrix.shape.back() = matrix.values.cols();
  matrix.bytes = blocks.bytes + scales.bytes;
  matrix.type_name = matrix.values.format()->name();
  matrix.file = blocks.file;
  matrix.offset = blocks.offset;
  return matrix;
}

}  // namespace

bool has_mxfp4_layers(const std::vector<StoredTensor>& tensors) { return std::ranges::any_of(tensors, holds_blocks); }

bool says_mxfp4(const std::string& config_json, const std::string& directory) {
  if (config_json.empty()) return false;
  const auto config = parse_json(config_json, directory + "/config.json");
  if (!config.is_object()) return false;
  const auto settings = config.find("quantization_config");
  if (settings == config.end() || !settings->is_object()) return false;
  const auto method = settings->find("quant_method");
  return method != settings->end() && *method == "mxfp4";
}

void assemble_mxfp4_layers(std::vector<StoredTensor>& tensors, const std::string& directory) {
  std::unordered_map<std::string, std::size_t> by_name;
  for (std::size_t i = 0; i < tensors.size(); ++i) by_name.emplace(tensors[i].name, i);
  AssembledLayers layers(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!holds_blocks(tensors[i])) continue;
    std::string name = tensors[i].name.substr(0, tensors[i].name.size() - kBlocks.size());
    const std::string where = fmt::format("{}: layer {}", directory, quote_name(name));
    if (by_name.contains(name))
      throw Error(ErrorKind::corrupt, fmt::format("{}: is stored both as it is and in codes of MXFP4", where));
    const auto scales = by_name.find(name + std::string(kScales));
    if (scales == by_name.end())
      throw Error(ErrorKind::corrupt, fmt::format("{}: {} is missing", where, kScales.substr(1)));
    layers.take(i);
    layers.take(scales->second);
    layers.put(i, assemble(tensors[i], tensors[scales->second], std::move(name), where));
  }
  layers.replace(tensors);
}

}  // namespace nibble
