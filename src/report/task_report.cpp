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
  if (is_share(measure)) return is_difference ? fmt::format("{:+.2f} pp", 100 * value) : percent_text(value, 2);
  return is_difference ? fmt::format("{:+.2f}", value) : fixed_text(value, 2);
}

std::string with_interval(const std::string& measure, const Figure& figure, bool is_difference = false) {
  const std::string value = value_text(measure, figure.value, is_difference);
  if (figure.certainty != Certainty::interval) return value + " (too few for an interval)";
  return fmt::format("{} [{}, {}]", value, value_text(measure, figure.low, is_difference),
                     value_text(measure, figure.high, is_difference));
}

Json answer_json(const Task& task, const std::string& model, const Answer& answer) {
  Json json = {{"model", model}};
  for (const OptionScore& score : answer.scores) json["log_likelihoods"].push_back(score.log_likelihood);
  switch (task.kind) {
    case TaskKind::choice:
      json.update({{"chosen", answer.chosen}, {"acc", answer.right}});
      if (task.normalised) json.update({{"chosen_norm", answer.chosen_norm}, {"acc_norm", answer.right_norm}});
      break;
    case TaskKind::last_word:
      json["acc"] = answer.right;
      break;
    case TaskKind::exact_match:
      json.update({{"text", answer.text}, {"exact_match", answer.right}, {"flexible_match", answer.right_norm}});
      break;
    case TaskKind::bleu:
      json.update({{"text", answer.text}, {"bleu", bleu_of(answer.bleu)}});
      break;
  }
  return json;
}

std::string rendered(const Table& table, const VerdictTextOptions& options) {
  return options.markdown ? table.markdown() : table.text(options.style);
}

// One file's scores are all there is to say; of several each has its own below the whole.
Table score_table(const TaskVerdict& verdict) {
  const bool several = verdict.files.size() > 1;
  std::vector<Column> columns = {{"model"}, {"measure"}, {"score", Align::right}};
  if (several) columns.insert(columns.begin() + 1, Column{"file"});
  Table table(columns);
  const auto add = [&](const std::string& model, const std::string& file, const TaskMeasure& measure) {
    std::vector<std::string> row = {model, measure.name, with_interval(measure.name, measure.figure)};
    if (several) row.insert(row.begin() + 1, file);
    table.add(row);
  };
  for (const TaskScores& model : verdict.models) {
    for (const TaskMeasure& measure : model.measures) add(model.model, "all", measure);
    for (std::size_t f = 0; f < model.files.size(); ++f)
      for (const TaskMeasure& measure : model.files[f]) add(model.model, verdict.files[f], measure);
  }
  return table;
}

Table change_table(const TaskVerdict& verdict) {
  Table table({{"against the original"},
               {"measure"},
               {"difference", Align::right},
               {"answers changed", Align::right},
               {"to wrong", Align::right},
               {"to right", Align::right},
               {"McNemar's p", Align::right}});
  for (const TaskScores& model : verdict.models)
    for (const TaskChange& change : model.changes) {
      const bool counted = is_share(change.name);
      table.add({model.model, change.name, with_interval(change.name, change.difference, true),
                 grouped_text(change.changed), counted ? grouped_text(change.to_wrong) : "",
                 counted ? grouped_text(change.to_right) : "", counted ? significant_text(change.mcnemar, 3) : ""});
    }
  return table;
}

}  // namespace

Json to_json(const TaskVerdict& verdict) {
  Json json = {{"task", verdict.task},       {"files", verdict.files},       {"questions", verdict.questions},
               {"planned", verdict.planned}, {"partial", verdict.partial()}, {"left_out", verdict.left_out},
               {"models", Json::array()}};
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

std::string answers_jsonl(const TaskVerdict& verdict) {
  const Task& task = find_task(verdict.task);
  std::string text;
  for (const AnsweredQuestion& question : verdict.answered) {
    Json line = {{"file", question.file}, {"line", question.line}};
    if (task.kind == TaskKind::choice) line["right"] = question.right;
    for (std::size_t m = 0; m < question.answers.size(); ++m)
      line["models"].push_back(answer_json(task, verdict.models[m].model, question.answers[m]));
    text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text;
}

std::string task_text(const TaskVerdict& verdict, const VerdictTextOptions& options) {
  std::string text = options.markdown ? fmt::format("## {}\n\n", verdict.task) : fmt::format("{}: ", verdict.task);
  text += fmt::format("{} questions; 95 % intervals.\n", grouped_text(verdict.questions));
  if (verdict.questions < verdict.planned)
    text += fmt::format("Stopped early: these figures cover {} of {} questions.\n", grouped_text(verdict.questions),
                        grouped_text(verdict.planned));
  if (!verdict.left_out.empty()) text += left_out_text(verdict.left_out);
  text += "\n" + rendered(score_table(verdict), options);
  const Table changes = change_table(verdict);
  if (changes.num_rows() > 0) text += "\n" + rendered(changes, options);
  return options.style.unicode || options.markdown ? text : to_ascii(text);
}

}  // namespace nibble
