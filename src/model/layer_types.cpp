// SPDX-License-Identifier: Apache-2.0
#include "model/layer_types.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/json_text.h"

namespace nibble {

std::optional<std::vector<bool>> read_layer_types(const HuggingFaceFields& fields, std::uint64_t layers,
                                                  const char* kind) {
  constexpr const char* kKey = "layer_types";
  const auto* const types = fields.find(kKey);
  if (types == nullptr) return std::nullopt;
  if (!types->is_array()) fields.wrong(kKey, "a list of names", *types);
  if (types->size() != layers)
    fields.wrong(kKey,
                 fmt::format("a list of {} names, as {} says", layers, fields.name_of("num_hidden_layers")).c_str(),
                 types->size());
  std::vector<bool> is_kind;
  for (const auto& type : *types) {
    if (type != "full_attention" && type != kind)
      fields.unsupported(
          fmt::format("layers can be of full_attention or {}; {}: {}", kind, kKey, dump_json(type).substr(0, 80)));
    is_kind.push_back(type == kind);
  }
  return is_kind;
}

}  // namespace nibble
