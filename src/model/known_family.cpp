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

}  // namespace

std::optional<KnownFamily> find_family_of_type(std::string_view model_type, std::string_view class_name) {
  for (const Architecture& architecture : all_architectures())
    for (const HfVariant& variant : architecture.variants)
      if (model_type.empty() ? class_name == variant.class_name : model_type == variant.model_type)
        return KnownFamily{&architecture, &variant};
  return std::nullopt;
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
  const auto family = find_family_of_type(text_of(config, "model_type"), class_name);
  return family && (class_name.empty() || class_name == family->variant->class_name);
}

}  // namespace nibble
