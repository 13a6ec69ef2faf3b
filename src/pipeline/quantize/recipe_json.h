// SPDX-License-Identifier: Apache-2.0
//
// Recipes as JSON: {"name", "description", "format", "file_type", "rules": [{"tensors", "when", "format", "method"}]}.
// Safe from any thread.
//
//   std::string text = recipe_to_json(find_recipe("q4_k_m"));
//   Recipe recipe = recipe_from_json(text, "mine.json");
#pragma once

#include <string>
#include <string_view>

#include "quantize/recipe.h"

namespace nibble {

std::string recipe_to_json(const Recipe& recipe);

// A recipe whose rules are no longer those of the mix that it names is called so ("q4_k_m (edited)"). Error(corrupt)
// names source and rule.
Recipe recipe_from_json(std::string_view text, const std::string& source);

}  // namespace nibble
