// SPDX-License-Identifier: Apache-2.0
#include "quantize/recipe.h"

#include <algorithm>

#include "base/letter_case.h"
#include "base/near_names.h"
#include "nibble/error.h"
#include "quantize/method.h"
#include "quantize/mixes.h"

namespace nibble {
namespace {

NearNames near_mixes(std::string_view name) {
  NearNames near;
  for (const Mix& mix : all_mixes()) near.look_at(name, mix.name);
  return near;
}

Recipe recipe_of_mix(const Mix& mix) {
  Recipe recipe{std::string(mix.name), std::string(mix.description), std::string(mix.main_format), {}, mix.file_type};
  for (const MixRule& rule : mix.rules)
    recipe.rules.push_back({std::string(rule.pattern), Condition::parse(rule.when), std::string(rule.format), {}});
  // What recurrent layers forget and learn is decided by matrices of a row for each head.
  recipe.rules.push_back({"*.ssm_alpha.weight|*.ssm_beta.weight", {}, "q8_0", {}});
  recipe.rules.push_back({"*", {}, std::string(mix.main_format), {}});
  return recipe;
}

Recipe recipe_of_format(const Format& format) {
  Recipe recipe{format.name(), format.info().description, format.name(), {}, format.info().ggml_ftype};
  if (format.info().kind == FormatKind::planar) {
    recipe.rules.push_back({std::string(kEmbeddings), {}, std::string(kSixteenBit), {}});
    recipe.rules.push_back({"output.weight", {}, std::string(kSixteenBit), {}});
  }
  recipe.rules.push_back({"*", {}, format.name(), {}});
  return recipe;
}

const Mix* find_mix(std::string_view name) {
  for (const Mix& mix : all_mixes())
    if (mix.name == name) return &mix;
  return nullptr;
}

void require_format(std::string_view format) {
  if (format != kSixteenBit && format != kSourceFormat) find_format(format);
}

}  // namespace

std::vector<MixInfo> list_mixes() {
  std::vector<MixInfo> result;
  for (const Mix& mix : all_mixes()) result.push_back({mix.name, mix.description});
  return result;
}

Recipe find_recipe(std::string_view spelling) {
  std::string name = lower_case(spelling);
  if (name.starts_with("mix:")) {
    name.erase(0, 4);
    if (const Mix* mix = find_mix(name)) return recipe_of_mix(*mix);
    const std::string near = near_mixes(name).list;
    throw Error(ErrorKind::invalid_argument,
                "unknown mix '" + name + "'" + (near.empty() ? "; 'nibble formats' lists them" : "; near are " + near));
  }
  if (name == kSourceFormat) return {name, "every tensor as it is", {}, {{"*", {}, name, {}}}, std::nullopt};
  const auto formats = list_formats();
  const bool is_format =
      std::any_of(formats.begin(), formats.end(), [&](const FormatPtr& format) { return format->name() == name; });
  if (const Mix* mix = find_mix(name); mix && !is_format) return recipe_of_mix(*mix);
  try {
    return recipe_of_format(*find_format(spelling));
  } catch (const Error& error) {
    const NearNames mixes = near_mixes(name);
    if (mixes.list.empty() || name.find('+') != std::string::npos) throw;
    NearNames near = mixes;
    for (const FormatPtr& format : formats)
      if (find_mix(format->name()) == nullptr) near.look_at(name, format->name());
    if (near.distance < mixes.distance)
      throw Error(error.kind(), std::string(error.what()) + "; near mixes: " + mixes.list);
    throw Error(error.kind(), "no format and no mix has this name: " + name + "; did you mean " + near.list + "?");
  }
}

bool covers_linears_only(const Recipe& recipe) {
  return !recipe.main_format.empty() && find_format(recipe.main_format)->info().kind == FormatKind::planar;
}

void override_embedding(Recipe& recipe, std::string_view format) {
  require_format(format);
  recipe.rules.insert(recipe.rules.begin(), {std::string(kEmbeddings), {}, std::string(format), {}});
}

void override_head(Recipe& recipe, std::string_view format) {
  require_format(format);
  recipe.rules.insert(recipe.rules.begin(), {"token_embd.weight", Condition::parse("tied"), std::string(format), {}});
  recipe.rules.insert(recipe.rules.begin(), {"output.weight", {}, std::string(format), {}});
}

Assignment assign(const Recipe& recipe, const TensorFacts& facts, const FormatPtr& source_format) {
  for (std::size_t i = 0; i < recipe.rules.size(); ++i) {
    const RecipeRule& rule = recipe.rules[i];
    if (!matches_pattern(rule.pattern, facts.name) && !matches_pattern(rule.pattern, facts.own_name)) continue;
    if (!rule.when.holds(facts)) continue;
    Assignment result;
    result.rule = i;
    result.method = rule.method;
    if (rule.format == kSourceFormat) {
      result.format = source_format;
    } else if (rule.format == kSixteenBit) {
      const bool is_sixteen = source_format && (source_format->name() == "f16" || source_format->name() == "bf16");
      result.format = is_sixteen ? source_format : find_format("f16");
    } else {
      const FormatPtr wanted = find_format(rule.format);
      result.format = fallback_format(wanted, facts.cols);
      if (result.format->name() != wanted->name()) result.wanted = wanted->name();
    }
    return result;
  }
  throw Error(ErrorKind::unsupported,
              "recipe '" + recipe.name + "' has no rule for tensor '" + facts.name + "'; end it with a rule for '*'");
}

}  // namespace nibble
