// SPDX-License-Identifier: Apache-2.0
#include "io/layers/dynamic_settings.h"

#include <algorithm>
#include <string>

namespace nibble {
namespace {

constexpr std::string_view kOver = "+:", kLeft = "-:";

}  // namespace

DynamicSettings::DynamicSettings(const LayerSettings& settings) {
  const LayerSettings all = settings.inner(kKey);
  if (settings.find(kKey) == nullptr) return;
  for (const auto& [key, value] : all.json().items()) {
    std::string_view expression = key;
    const bool is_left = expression.starts_with(kLeft);
    if (is_left || expression.starts_with(kOver)) expression.remove_prefix(kOver.size());
    if (!value.is_object()) all.refuse(key, "an object is meant");
    Rule rule{ModulePattern(expression, kKey), std::nullopt};
    if (!is_left) rule.own = settings.overlaid(value, std::string(kKey) + '.' + key);
    rules_.push_back(std::move(rule));
  }
}

const DynamicSettings::Rule* DynamicSettings::find(std::string_view module) const {
  const auto rule = std::ranges::find_if(rules_, [&](const Rule& each) { return each.pattern.matches(module); });
  return rule == rules_.end() ? nullptr : &*rule;
}

}  // namespace nibble
