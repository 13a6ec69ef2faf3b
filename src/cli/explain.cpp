// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/explain.h"
#include "pipeline/quantize/shorthand.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/near_names.h"
#include "cli/option_checks.h"
#include "cli/verbs.h"
#include "format/lattice/lattice_format.h"
#include "format/outlier_format.h"
#include "format/row_tiles.h"
#include "nibble/error.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/recipe.h"
#include "report/explain_report.h"
#include "report/glossary.h"
#include "report/number_text.h"
#include "report/topics.h"

namespace nibble::cli {
namespace {

struct Options {
  std::vector<std::string> words;
  std::string format, range, fit, language = "en";
};

float parse_number(const std::string& word) {
  float value = 0;
  const char* const begin = word.data() + (word.starts_with('+') ? 1 : 0);
  const auto [end, code] = std::from_chars(begin, word.data() + word.size(), value);
  if (code != std::errc{} || end != word.data() + word.size())
    throw Error(ErrorKind::invalid_argument, fmt::format("not a number: '{}'", word));
  return value;
}

std::pair<float, float> parse_range(const std::string& text) {
  const auto ends = split_list(text);
  if (ends.size() != 2)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a range is two numbers with a comma between, as in -2.5,3: '{}'", text));
  return {parse_number(ends[0]), parse_number(ends[1])};
}

std::string topic_names() {
  std::string names;
  for (const Topic& topic : all_topics()) names += (names.empty() ? "" : ", ") + std::string(topic.name);
  return names;
}

std::string term_names() {
  std::string names;
  for (const Term& term : all_terms()) names += (names.empty() ? "" : ", ") + std::string(term.name);
  return names;
}

bool is_mix(const std::string& name) {
  const std::string bare = name.starts_with("mix:") ? name.substr(4) : name;
  return std::ranges::any_of(list_mixes(), [&](const MixInfo& mix) { return mix.name == bare; });
}

// A mix by its name, in the words of the way of storing that it is an example of.
void explain_mix(const std::string& name, Language language, Session& session) {
  const Recipe recipe = find_recipe(name);
  const Topic& topic = topic_of_format(recipe.main_format, find_format(recipe.main_format)->info().bits_per_weight);
  const std::string command = "nibble recipe show " + name;
  if (session.json()) {
    Json json = topic_json(topic, language);
    json["mix"] = {{"name", recipe.name}, {"description", recipe.description}, {"command", command}};
    return session.print_json(json);
  }
  const char* const which = language == Language::english ? "a mix of formats" : "混合方案";
  session.print(fmt::format("{}: {}, {}\n  {}\n\n", recipe.name, which, recipe.description, command) +
                topic_text(topic, language, session.style()));
}

// What one word stands for, other than a format; false where it stands for nothing else.
bool explain_word(const std::string& word, Language language, Session& session) {
  if (const Topic* const topic = find_topic(word)) {
    session.json() ? session.print_json(topic_json(*topic, language))
                   : session.print(topic_text(*topic, language, session.style()));
  } else if (const Term* const term = find_term(word)) {
    session.json() ? session.print_json(term_json(*term, language)) : session.print(term_text(*term, language));
  } else if (is_mix(word) && find_recipe(word).rules.size() > 1) {
    explain_mix(word, language, session);
  } else {
    return false;
  }
  return true;
}

// Formats that have nothing to show of single numbers, by the word for them.
void explain_tiles(const Format& format, Language language, Session& session) {
  const Term& term = *find_term(find_outlier_format(format) != nullptr ? "outliers"
                                : is_lattice(format)                   ? "lattice"
                                                                       : "trellis");
  if (session.json()) {
    Json json = term_json(term, language);
    json["format"] = {{"name", format.name()},
                      {"description", format.info().description},
                      {"bits_per_weight", format.info().bits_per_weight}};
    return session.print_json(json);
  }
  session.print(fmt::format("{}: {}\n\n", format.name(), format.info().description) + term_text(term, language));
}

bool has_tiles(const Format& format) {
  return find_row_tiles(format) != nullptr || find_outlier_format(format) != nullptr || is_lattice(format);
}

// In words that name near words, and near formats and mixes.
std::string why_unknown(const std::string& spelling) {
  NearNames near;
  for (const Topic& topic : all_topics()) near.look_at(spelling, topic.name);
  for (const Term& term : all_terms()) near.look_at(spelling, term.name);
  if (!near.list.empty())
    return fmt::format("nothing is known by this name: {}; did you mean {}?", spelling, near.list);
  try {
    find_recipe(spelling);
  } catch (const Error& error) {
    return error.what();
  }
  return fmt::format("no format has this name: {}", spelling);
}

FormatPtr format_to_explain(const std::string& spelling, bool alone, Session& session) {
  try {
    FormatPtr format = find_format(spelling);
    if (const std::string meant = resolve_shorthand(spelling, true); meant != spelling)
      session.note(fmt::format(
          "these are the integers as they are spelled; to quantize and compare, {} is short for {}", spelling, meant));
    return format;
  } catch (const Error&) {
    if (is_mix(spelling))
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("numbers are rounded in a format, and {} is a mix of several; name one, such as {}",
                              spelling, find_recipe(spelling).main_format));
    if (find_topic(spelling) != nullptr || find_term(spelling) != nullptr)
      throw Error(
          ErrorKind::invalid_argument,
          fmt::format("numbers are rounded in a format, which {} is not; name one, such as int4:g32", spelling));
    if (!alone) throw;
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}; subjects are {}; words are {}; 'nibble formats' lists formats and mixes",
                            why_unknown(spelling), topic_names(), term_names()));
  }
}

void explain(const CLI::App& verb, const Options& options, Session& session) {
  const Language language = parse_language(options.language);
  const bool alone =
      options.format.empty() && options.words.size() == 1 && options.range.empty() && options.fit.empty();
  if (alone && explain_word(options.words.front(), language, session)) return;
  if (alone && verb.count("--lang") > 0) {
    const FormatPtr format = format_to_explain(options.words.front(), alone, session);
    if (has_tiles(*format)) return explain_tiles(*format, language, session);
    const Topic& topic = topic_of_format(format->name(), format->info().bits_per_weight);
    if (session.json()) return session.print_json(topic_json(topic, language));
    return session.print(
        fmt::format("{}: {}\n\n", format->name(), significant_text(format->info().bits_per_weight, 4)) +
        topic_text(topic, language, session.style()));
  }
  refuse_without_effect(verb, "--lang", false, "with a format and numbers, which are told in English");
  ExplainRequest request;
  std::size_t first = 0;
  std::string spelling = options.format;
  if (spelling.empty()) {
    if (options.words.empty())
      throw Error(ErrorKind::invalid_argument, "name what to explain: a subject (" + topic_names() +
                                                   "), or a format and numbers: int8:tensor:asym 3 0 -2.5");
    spelling = options.words[first++];
  }
  request.format = format_to_explain(spelling, alone, session);
  if (alone && has_tiles(*request.format)) return explain_tiles(*request.format, language, session);
  for (; first < options.words.size(); ++first) request.numbers.push_back(parse_number(options.words[first]));
  if (!options.range.empty()) request.range = parse_range(options.range);
  if (!options.fit.empty()) request.fit = find_fit(options.fit);
  const Explanation explanation = explain_format(request);
  if (session.json()) return session.print_json(to_json(explanation));
  session.print(explanation_text(explanation, session.style()));
}

}  // namespace

void add_explain(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("explain", "What a format does: the process and its cost, or the arithmetic on given numbers");
  verb->footer(
      "Examples:\n"
      "  nibble explain int4                                what it is, when and how to use it, what it costs\n"
      "  nibble explain mixed --lang zh                     the same in Chinese\n"
      "  nibble explain --format int8:tensor:asym --range -2.5,3.0 3.0 0.0 -2.5\n"
      "  nibble explain --format q4_k 0.1 -0.02 0.3        any format: 'nibble formats' lists them\n"
      "  nibble explain --format int4:row --fit absmax 3 0 -2.5\n\n"
      "Subjects: " +
      topic_names() + "\nWords: " + term_names() + "\nFormats and mixes: 'nibble formats' lists them");
  verb->add_option("what", options->words, "A subject, or a format and the numbers to store in it");
  verb->add_option("-f,--format", options->format, "Format: 'nibble formats' lists them");
  verb->add_option("--range", options->range, "LOW,HIGH: the range the grid is for (default: of the numbers)");
  verb->add_option("--fit", options->fit, "How the grid is chosen: 'nibble quantize --help' lists the ways");
  verb->add_option("--lang", options->language, "Language of the subjects' texts: en, zh")->capture_default_str();
  session.add_json(*verb);
  verb->callback([options, verb, &session] { explain(*verb, *options, session); });
}

}  // namespace nibble::cli
