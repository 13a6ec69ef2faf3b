// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/verbs.h"
#include "pipeline/quantize/recipe_json.h"
#include "pipeline/quantize/shorthand.h"

namespace nibble::cli {
namespace {

void show(const std::string& name, Session& session) {
  const Recipe recipe =
      name.ends_with(".json") ? recipe_from_json(read_text(name), name) : find_recipe(resolve_shorthand(name, true));
  if (session.json()) return session.print(recipe_to_json(recipe) + "\n");
  Table table({{"tensors"}, {"when"}, {"format"}, {"method"}});
  for (const RecipeRule& rule : recipe.rules) table.add({rule.pattern, rule.when.text(), rule.format, rule.method});
  session.print(fmt::format("{}: {}\nThe first rule that matches decides.\n\n", recipe.name, recipe.description) +
                table.text(session.style()));
}

void list(Session& session) {
  Json json = Json::array();
  Table table({{"mix"}, {"what it is"}});
  for (const MixInfo& mix : list_mixes()) {
    json.push_back({{"name", mix.name}, {"description", mix.description}});
    table.add({std::string(mix.name), std::string(mix.description)});
  }
  if (session.json()) return session.print_json({{"mixes", json}});
  session.print(table.text(session.style()));
}

}  // namespace

void add_recipe(CLI::App& app, Session& session) {
  const auto name = std::make_shared<std::string>();
  CLI::App* const verb = app.add_subcommand("recipe", "Show which tensor gets which format: the rules behind a name");
  verb->footer(
      "Examples:\n  nibble recipe list\n  nibble recipe show q4_k_m\n  nibble recipe show q4_k_m --json > mine.json   "
      "(edit, then quantize --recipe "
      "mine.json)");
  verb->require_subcommand(1);
  CLI::App* const show_verb = verb->add_subcommand("show", "Print a recipe's rules");
  show_verb->add_option("name", *name, "A format, a mix, or a .json file")->required();
  session.add_json(*show_verb);
  show_verb->callback([name, &session] { show(*name, session); });
  CLI::App* const list_verb = verb->add_subcommand("list", "List the mixes");
  session.add_json(*list_verb);
  list_verb->callback([&session] { list(session); });
}

}  // namespace nibble::cli
