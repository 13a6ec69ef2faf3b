// SPDX-License-Identifier: Apache-2.0
//
// GPTQModel's "dynamic": expressions for modules' names (Python's re.match), each with settings that are laid over
// those of all, or, behind "-:", for modules that stay as they are. The first that matches counts. Internal to
// io/layers/. Immutable.
//
//   const DynamicSettings dynamic(settings);
//   const DynamicSettings::Rule* rule = dynamic.find("model.layers.0.mlp.up_proj");
//   if (rule != nullptr && rule->own) const std::int64_t bits = rule->own->whole_number("bits", {});
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "io/layers/layer_settings.h"
#include "io/layers/module_pattern.h"

namespace nibble {

class DynamicSettings {
 public:
  static constexpr std::string_view kKey = "dynamic";

  struct Rule {
    ModulePattern pattern;
    std::optional<LayerSettings> own;  // nothing: the module stays as it is
  };

  // Error(unsupported) names the key whose value is no object, or whose expression is not read. Rules share the
  // settings: they take what the file takes, not the square of it.
  explicit DynamicSettings(const LayerSettings& settings);

  const std::vector<Rule>& rules() const { return rules_; }
  const Rule* find(std::string_view module) const;  // null: the settings of all

 private:
  std::vector<Rule> rules_;
};

}  // namespace nibble
