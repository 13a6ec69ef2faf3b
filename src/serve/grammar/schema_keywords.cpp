// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/schema_keywords.h"

#include <algorithm>
#include <array>

namespace nibble::serve {

namespace {

constexpr auto kDescribing = std::to_array<std::string_view>(
    {"title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "$defs", "definitions",
     "deprecated", "readOnly", "writeOnly", "nullable", "strict", "name"});
constexpr auto kKnown = std::to_array<std::string_view>(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems",
     "maxItems", "minLength", "maxLength", "anyOf", "allOf", "$ref"});

const SchemaKeywords::Json& type_named(const char* name) {
  static const SchemaKeywords::Json object = "object", array = "array";
  return object == name ? object : array;
}

}  // namespace

SchemaKeywords::SchemaKeywords(const Json& schema) {
  for (const auto& [key, value] : schema.get_ref<const Json::object_t&>()) put(key, value);
}

bool SchemaKeywords::is_known(std::string_view key) { return std::ranges::find(kKnown, key) != kKnown.end(); }

bool SchemaKeywords::describes(std::string_view key) {
  return std::ranges::find(kDescribing, key) != kDescribing.end();
}

const SchemaKeywords::Json* SchemaKeywords::find(std::string_view key) const {
  for (const auto& [one, value] : keywords_)
    if (one == key) return value;
  return nullptr;
}

void SchemaKeywords::erase(std::string_view key) {
  std::erase_if(keywords_, [&](const auto& one) { return one.first == key; });
}

void SchemaKeywords::keep(std::initializer_list<std::string_view> keys) {
  std::erase_if(keywords_, [&](const auto& one) { return std::ranges::find(keys, one.first) == keys.end(); });
}

SchemaKeywords SchemaKeywords::of_object() const {
  SchemaKeywords object = *this;
  object.keep({"properties", "required"});
  object.put("type", type_named("object"));
  return object;
}

SchemaKeywords SchemaKeywords::loosened() const {
  SchemaKeywords loose = *this;
  std::erase_if(loose.keywords_, [](const auto& one) { return !is_known(one.first); });
  if (contains("oneOf") && !loose.contains("anyOf")) loose.put("anyOf", (*this)["oneOf"]);
  if (loose.contains("properties") && !loose.contains("type")) loose.put("type", type_named("object"));
  if (loose.contains("items") && !loose.contains("type")) loose.put("type", type_named("array"));
  for (const std::string_view whole : {"$ref", "const", "enum"})
    if (loose.contains(whole)) {
      loose.keep({whole});
      return loose;
    }
  for (const std::string_view combined : {"anyOf", "allOf"})
    if (loose.contains(combined)) {
      if (loose.contains("type"))
        loose.erase(combined);
      else
        loose.keep({combined});
    }
  loose.erase(loose.contains("properties") ? "additionalProperties" : "required");
  if (loose.contains("prefixItems")) {
    loose.erase("prefixItems");
    loose.erase("items");
  }
  return loose;
}

}  // namespace nibble::serve
