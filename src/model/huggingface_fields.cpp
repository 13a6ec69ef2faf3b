// SPDX-License-Identifier: Apache-2.0
#include "model/huggingface_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "nibble/error.h"

namespace nibble {

double shortest_decimal(float value) { return std::stod(fmt::format("{}", value)); }

HuggingFaceFields::HuggingFaceFields(const Json& object, std::string source, std::string prefix, OwnKeys own_keys)
    : object_(object), source_(std::move(source)), prefix_(std::move(prefix)), own_keys_(std::move(own_keys)) {}

std::string HuggingFaceFields::name_of(const char* key) const {
  const auto own = std::ranges::find(own_keys_, key, [](const auto& names) { return names.first; });
  return std::string(own == own_keys_.end() ? key : own->second);
}

const HuggingFaceFields::Json* HuggingFaceFields::find(const char* key) const {
  const auto found = object_.find(name_of(key));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool HuggingFaceFields::has_null(const char* key) const {
  const auto found = object_.find(name_of(key));
  return found != object_.end() && found->is_null();
}

std::uint64_t HuggingFaceFields::integer(const char* key, std::uint64_t fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number_unsigned()) wrong(key, "a whole number from 0 to 2^64 - 1", *value);
  return value->get<std::uint64_t>();
}

std::uint64_t HuggingFaceFields::required_integer(const char* key) const {
  if (find(key) == nullptr)
    throw Error(ErrorKind::corrupt, fmt::format("{}: key is missing: {}{}", source_, prefix_, name_of(key)));
  return integer(key, 0);
}

double HuggingFaceFields::number(const char* key, double fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) wrong(key, "a number", *value);
  return value->get<double>();
}

bool HuggingFaceFields::boolean(const char* key, bool fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) wrong(key, "true or false", *value);
  return value->get<bool>();
}

std::string HuggingFaceFields::string(const char* key, const std::string& fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string() || is_unheld_number(value->get_ref<const std::string&>())) wrong(key, "a string", *value);
  return value->get<std::string>();
}

HuggingFaceFields HuggingFaceFields::object(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_object()) wrong(key, "an object", value == nullptr ? Json() : *value);
  return {*value, source_, prefix_ + name_of(key) + "."};
}

void HuggingFaceFields::wrong(const char* key, const char* expected, const Json& value) const {
  const std::string text = dump_json(value);
  throw Error(ErrorKind::corrupt,
              fmt::format("{}: {}{} must be {}: {}", source_, prefix_, name_of(key), expected, text.substr(0, 80)));
}

void HuggingFaceFields::contradicts(const std::string& what) const {
  throw Error(ErrorKind::corrupt, source_ + ": " + what);
}

void HuggingFaceFields::unsupported(const std::string& what) const {
  throw Error(ErrorKind::unsupported, source_ + ": " + what);
}

}  // namespace nibble
