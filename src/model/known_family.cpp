// SPDX-License-Identifier: Apache-2.0
#include "model/known_family.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/json_text.h"

namespace nibble {
namespace {

std::string text_of(const nlohmann::ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string text_type_of(const nlohmann::ordered_json& config) {
  const auto text = config.find("text_config");
  return text != config.end() && text->is_object() ? text_of(*text, "model_type") : std::string();
}

}  // namespace

std::optional<KnownFamily> find_family_of_type(std::string_view model_type, std::string_view class_name,
                                               std::string_view text_type) {
  std::optional<KnownFamily> first;
  for (const Architecture& architecture : all_architectures())
    for (const HfVariant& variant : architecture.variants)
      for (const bool is_wrapped : {false, true}) {
        const KnownFamily family{&architecture, &variant, is_wrapped};
        const std::string_view type = is_wrapped ? variant.wrapper_type : variant.model_type;
        if (type.empty() || (model_type.empty() ? !family.is_class(class_name) : model_type != type)) continue;
        if (!is_wrapped || variant.model_type == text_type) return family;
        if (!first) first = family;
      }
  return first;
}

bool has_known_family(const Checkpoint& checkpoint) {
  if (checkpoint.kind() == ContainerKind::gguf) {
    const auto name = checkpoint.gguf().string("general.architecture");
    return name && std::ranges::any_of(all_architectures(),
                                       [&](const Architecture& family) { return family.gguf_name == *name; });
  }
  if (checkpoint.config_json().empty()) return false;
  const auto config = parse_json(checkpoint.config_json(), (checkpoint.path() / "config.json").string());
  // Whoever reads it says what is wrong with it.
  if (!config.is_object()) return true;
  if (const auto type = config.find("model_type"); type != config.end() && !type->is_null() && !type->is_string())
    return true;
  std::string class_name;
  if (const auto classes = config.find("architectures");
      classes != config.end() && classes->is_array() && !classes->empty() && classes->front().is_string())
    class_name = classes->front().get<std::string>();
  const auto family = find_family_of_type(text_of(config, "model_type"), class_name, text_type_of(config));
  return family && (class_name.empty() || family->is_class(class_name));
}

bool is_text_part(const Checkpoint& checkpoint) {
  if (checkpoint.kind() == ContainerKind::gguf || checkpoint.config_json().empty()) return false;
  const auto config = parse_json(checkpoint.config_json(), (checkpoint.path() / "config.json").string());
  if (!config.is_object()) return false;
  const auto family = find_family_of_type(text_of(config, "model_type"), "", text_type_of(config));
  return family && family->is_wrapped;
}

bool has_own_keys(const nlohmann::ordered_json& config) {
  const auto family = find_family_of_type(text_of(config, "model_type"), "", text_type_of(config));
  return family && !family->is_wrapped && !family->variant->own_keys.empty();
}

nlohmann::ordered_json text_part_config(const nlohmann::ordered_json& config) {
  const auto family = find_family_of_type(text_of(config, "model_type"), "", text_type_of(config));
  const auto text = config.find("text_config");
  if (!family || !family->is_wrapped || text == config.end() || !text->is_object()) return config;
  nlohmann::ordered_json own = *text;
  own["architectures"] = {family->variant->class_name};
  own["model_type"] = family->variant->model_type;
  for (const char* const key : {"bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "torch_dtype",
                                "dtype", "transformers_version"})
    if (const auto outer = config.find(key); outer != config.end()) own[key] = *outer;
  return own;
}

}  // namespace nibble
