// SPDX-License-Identifier: Apache-2.0
#include "report/task_report.h"

#include <fmt/format.h>

#include "report/number_text.h"

namespace nibble {

namespace {

Json measures_json(const std::vector<TaskMeasure>& measures) {
  Json json = Json::object();
  for (const TaskMeasure& measure : measures) json[measure.name] = to_json(measure.figure);
  return json;
}

bool is_share(const std::string& measure) { return measure != "perplexity" && measure != "bleu"; }

std::string value_text(const std::string& measure, double value, bool is_difference = false) {
  if (is_share(measure)) return is_difference ? signed_percent_text(value) : percent_text(value, 2);
  return is_difference ? fmt::format("{:+.2f}", value) : fixed_text(value, 2);
}

std::string with_interval(const std::string& measure, const Figure& figure, bool is_difference = false) {
  const std::string value = value_text(measure, figure.value, is_difference);
  if (figure.certainty != Certainty::interval) return value + " (too few for an interval)";
  return fmt::format("{} [{}, {}]", value, value_text(measure, figure.low, is_difference), value_text(measure, figure.high, is_difference));
}

std::string rendered(const Table& table, const VerdictTextOptions& options) { return options.markdown ? table.markdown() : table.text(options.style); }

}  // namespace

Json to_json(const TaskVerdict& verdict) {
  Json json = {{"task", verdict.task},       {"files", verdict.files},     {"questions", verdict.questions},
               {"planned", verdict.planned}, {"partial", verdict.partial()}, {"models", Json::array()}};
  for (const TaskScores& scores : verdict.models) {
    Json item = {{"model", scores.model}, {"measures", measures_json(scores.measures)}};
    if (!scores.files.empty()) {
      item["files"] = Json::array();
      for (const auto& measures : scores.files) item["files"].push_back(measures_json(measures));
    }
    if (!scores.changes.empty()) item["changes"] = Json::object();
    for (const TaskChange& change : scores.changes)
      item["changes"][change.name] = {{"difference", to_json(change.difference)},
                                      {"changed", change.changed},
                                      {"to_wrong", change.to_wrong},
                                      {"to_right", change.to_right},
                                      {"mcnemar_p", change.mcnemar}};
    json["models"].push_back(std::move(item));
  }
  return json;
}

std::string task_text(const TaskVerdict& verdict, const VerdictTextOptions& options) {
  std::string text = options.markdown ? fmt::format("## {}\n\n", verdict.task) : fmt::format("{}: ", verdict.task);
  text += fmt::format("{} questions; 95 % intervals.\n", grouped_text(verdict.questions));
  if (verdict.partial())
    text += fmt::format("Stopped early: these figures cover {} of {} questions.\n", grouped_text(verdict.questions), grouped_text(verdict.planned));
  Table scores({{"model"}, {"file"}, {"measure"}, {"score", Align::right}});
  for (const TaskScores& model : verdict.models) {
    for (const TaskMeasure& measure : model.measures) scores.add({model.model, "all", measure.name, with_interval(measure.name, measure.figure)});
    for (std::size_t f = 0; f < model.files.size(); ++f)
      for (const TaskMeasure& measure : model.files[f]) scores.add({model.model, verdict.files[f], measure.name, with_interval(measure.name, measure.figure)});
  }
  text += "\n" + rendered(scores, options);
  Table changes({{"against the original"}, {"measure"}, {"difference", Align::right}, {"answers changed", Align::right}, {"to wrong", Align::right},
                 {"to right", Align::right}, {"McNemar's p", Align::right}});
  for (const TaskScores& model : verdict.models)
    for (const TaskChange& change : model.changes) {
      const bool counted = is_share(change.name);
      changes.add({model.model, change.name, with_interval(change.name, change.difference, true), grouped_text(change.changed),
                   counted ? grouped_text(change.to_wrong) : "", counted ? grouped_text(change.to_right) : "",
                   counted ? significant_text(change.mcnemar, 3) : ""});
    }
  if (changes.num_rows() > 0) text += "\n" + rendered(changes, options);
  return options.style.unicode || options.markdown ? text : to_ascii(text);
}

}  // namespace nibble
