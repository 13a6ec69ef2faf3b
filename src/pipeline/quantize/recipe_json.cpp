// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/recipe_json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/json_text.h"
#include "nibble/error.h"
#include "quantize/method.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void fail(const std::string& source, const std::string& what) {
  throw Error(ErrorKind::corrupt, source + ": " + what);
}

std::string text_member(const Json& object, const char* key, const std::string& source, const std::string& where) {
  const auto it = object.find(key);
  if (it == object.end()) return {};
  if (!it->is_string() || is_unheld_number(it->get_ref<const std::string&>()))
    fail(source, where + ": \"" + key + "\" must be a string");
  return it->get<std::string>();
}

RecipeRule rule_from_json(const Json& value, std::size_t index, const std::string& source) {
  const std::string where = "rule " + std::to_string(index + 1);
  if (!value.is_object()) fail(source, where + " must be an object");
  for (const auto& [key, ignored] : value.items())
    if (key != "tensors" && key != "when" && key != "format" && key != "method")
      fail(source, where + ": unknown key \"" + key + "\"; known are tensors, when, format, method");
  RecipeRule rule;
  rule.pattern = text_member(value, "tensors", source, where);
  rule.format = text_member(value, "format", source, where);
  rule.method = text_member(value, "method", source, where);
  if (rule.pattern.empty()) fail(source, where + " lacks \"tensors\", a pattern such as \"*.attn_v.weight\"");
  if (rule.format.empty()) fail(source, where + " lacks \"format\"");
  try {
    rule.when = Condition::parse(text_member(value, "when", source, where));
    if (rule.format != kSixteenBit && rule.format != kSourceFormat) find_format(rule.format);
    if (!rule.method.empty()) find_method(rule.method);
  } catch (const Error& error) {
    fail(source, where + ": " + error.what());
  }
  return rule;
}

// What no rule matches has the recipe's own format.
void add_default(Recipe& recipe, const std::string& source) {
  if (recipe.main_format.empty()) return;
  try {
    find_format(recipe.main_format);
  } catch (const Error& error) {
    fail(source, std::string("\"format\": ") + error.what());
  }
  const RecipeRule& last = recipe.rules.back();
  if (last.pattern != "*" || !last.when.text().empty()) recipe.rules.push_back({"*", {}, recipe.main_format, {}});
}

bool has_rules_of(const Recipe& recipe, const Recipe& other) {
  return recipe.main_format == other.main_format &&
         std::ranges::equal(recipe.rules, other.rules, [](const RecipeRule& a, const RecipeRule& b) {
           return a.pattern == b.pattern && a.format == b.format && a.method == b.method &&
                  a.when.text() == b.when.text();
         });
}

// A mix that was printed and edited is no longer that mix: neither its name nor the file type that stands for it would
// be true of the file.
void tell_from_namesake(Recipe& recipe) {
  std::vector<Recipe> namesakes;  // a format and a mix may share a name
  for (const char* const prefix : {"", "mix:"}) try {
      namesakes.push_back(find_recipe(prefix + recipe.name));
    } catch (const Error&) {  // no such one
    }
  if (namesakes.empty() ||
      std::ranges::any_of(namesakes, [&](const Recipe& namesake) { return has_rules_of(recipe, namesake); }))
    return;
  recipe.name += " (edited)";
  if (std::ranges::find(namesakes, recipe.file_type, &Recipe::file_type) != namesakes.end()) recipe.file_type.reset();
}

}  // namespace

std::string recipe_to_json(const Recipe& recipe) {
  Json json;
  json["name"] = recipe.name;
  if (!recipe.description.empty()) json["description"] = recipe.description;
  if (!recipe.main_format.empty()) json["format"] = recipe.main_format;
  if (recipe.file_type) json["file_type"] = *recipe.file_type;
  json["rules"] = Json::array();
  for (const RecipeRule& rule : recipe.rules) {
    Json item;
    item["tensors"] = rule.pattern;
    if (const std::string when = rule.when.text(); !when.empty()) item["when"] = when;
    item["format"] = rule.format;
    if (!rule.method.empty()) item["method"] = rule.method;
    json["rules"].push_back(std::move(item));
  }
  return json.dump(2);
}

Recipe recipe_from_json(std::string_view text, const std::string& source) {
  const Json json = parse_json(text, source);
  if (!json.is_object()) fail(source, "not a recipe: no JSON object; 'nibble recipe show' prints one to start from");
  Recipe recipe;
  recipe.name = text_member(json, "name", source, "recipe");
  if (recipe.name.empty()) recipe.name = "recipe";
  recipe.description = text_member(json, "description", source, "recipe");
  recipe.main_format = text_member(json, "format", source, "recipe");
  if (const auto it = json.find("file_type"); it != json.end()) {
    if (!it->is_number_unsigned() || it->get<std::uint64_t>() > std::numeric_limits<std::uint32_t>::max())
      fail(source, "\"file_type\" must be a whole number of at most 32 bits");
    recipe.file_type = it->get<std::uint32_t>();
  }
  const auto rules = json.find("rules");
  if (rules == json.end() || !rules->is_array() || rules->empty())
    fail(source, "a recipe needs \"rules\", a list with at least one rule");
  if (rules->size() > 10'000) fail(source, "too many rules, at most 10000: " + std::to_string(rules->size()));
  for (std::size_t i = 0; i < rules->size(); ++i) recipe.rules.push_back(rule_from_json((*rules)[i], i, source));
  add_default(recipe, source);
  tell_from_namesake(recipe);
  return recipe;
}

}  // namespace nibble
