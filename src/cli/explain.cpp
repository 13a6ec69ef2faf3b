// SPDX-License-Identifier: Apache-2.0
#include "pipeline/explain.h"

#include <fmt/format.h>

#include <charconv>

#include "cli/verbs.h"
#include "nibble/error.h"
#include "quantize/fit/fit_rule.h"
#include "report/explain_report.h"
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
  if (code != std::errc{} || end != word.data() + word.size()) throw Error(ErrorKind::invalid_argument, fmt::format("not a number: '{}'", word));
  return value;
}

std::pair<float, float> parse_range(const std::string& text) {
  const auto ends = split_list(text);
  if (ends.size() != 2)
    throw Error(ErrorKind::invalid_argument, fmt::format("a range is two numbers with a comma between, as in -2.5,3: '{}'", text));
  return {parse_number(ends[0]), parse_number(ends[1])};
}

std::string topic_names() {
  std::string names;
  for (const Topic& topic : all_topics()) names += (names.empty() ? "" : ", ") + std::string(topic.name);
  return names;
}

void explain(const Options& options, Session& session) {
  const Language language = parse_language(options.language);
  if (options.format.empty() && options.words.size() == 1 && options.range.empty() && options.fit.empty()) {
    if (const Topic* const topic = find_topic(options.words.front())) {
      if (session.json()) return session.print_json(topic_json(*topic, language));
      return session.print(topic_text(*topic, language, session.style()));
    }
  }
  ExplainRequest request;
  std::size_t first = 0;
  std::string spelling = options.format;
  if (spelling.empty()) {
    if (options.words.empty())
      throw Error(ErrorKind::invalid_argument,
                  "name what to explain: a subject (" + topic_names() + "), or a format and numbers: int8:tensor:asym 3 0 -2.5");
    spelling = options.words[first++];
  }
  request.format = find_format(spelling);
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
  CLI::App* const verb = app.add_subcommand("explain", "What a format does: the process and its cost, or the arithmetic on given numbers");
  verb->footer(
      "Examples:\n"
      "  nibble explain int4                                what it is, when and how to use it, what it costs\n"
      "  nibble explain mixed --lang zh                     the same in Chinese\n"
      "  nibble explain --format int8:tensor:asym --range -2.5,3.0 3.0 0.0 -2.5\n"
      "  nibble explain --format q4_k 0.1 -0.02 0.3        any format: 'nibble formats' lists them\n"
      "  nibble explain --format int4:row --fit absmax 3 0 -2.5\n\n"
      "Subjects: " +
      topic_names());
  verb->add_option("what", options->words, "A subject, or a format and the numbers to store in it");
  verb->add_option("-f,--format", options->format, "Format: 'nibble formats' lists them");
  verb->add_option("--range", options->range, "LOW,HIGH: the range the grid is for (default: of the numbers)");
  verb->add_option("--fit", options->fit, "How the grid is chosen: 'nibble quantize --help' lists the ways");
  verb->add_option("--lang", options->language, "Language of the subjects' texts: en, zh")->capture_default_str();
  session.add_json(*verb);
  verb->callback([options, &session] { explain(*options, session); });
}

}  // namespace nibble::cli
