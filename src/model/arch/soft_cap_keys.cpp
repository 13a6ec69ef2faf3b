// SPDX-License-Identifier: Apache-2.0
#include "model/arch/soft_cap_keys.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace nibble {

bool is_sound_cap(double value) { return value > 1e-9 && value < 1e9; }

float read_soft_cap(const HuggingFaceFields& fields, const char* key, double usual) {
  const double cap = fields.has_null(key) ? 0 : fields.number(key, usual);
  if (fields.find(key) != nullptr && !is_sound_cap(cap))
    fields.wrong(key, "positive, or null for none", *fields.find(key));
  return static_cast<float>(cap);
}

float read_soft_cap(const GgufKeys& keys, std::string_view key, double usual) {
  const double cap = keys.number(key).value_or(usual);
  if (!is_sound_cap(cap)) keys.wrong(key, fmt::format("must be positive: {}", cap));
  return static_cast<float>(cap);
}

void write_soft_cap(nlohmann::ordered_json& json, const char* key, float cap) {
  json[key] = nullptr;
  if (cap != 0) json[key] = shortest_decimal(cap);
}

}  // namespace nibble
