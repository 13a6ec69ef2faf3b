// SPDX-License-Identifier: Apache-2.0
#include "evaluate/tasks/task_verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/progress_meter.h"
#include "evaluate/resampling.h"
#include "evaluate/special_functions.h"
#include "evaluate/tasks/task_file.h"
#include "nibble/error.h"

namespace nibble {

namespace {

constexpr double kTwoSided = 1.959963984540054, kOneSided = 1.6448536269514722;  // normal quantiles at 97.5 % and 95 %

// "data/abstract_algebra_test.csv" -> "abstract algebra"
std::string subject_of(std::string name) {
  name.erase(0, name.find_last_of('/') + 1);
  name.resize(std::min(name.size(), name.find('.')));
  for (const std::string_view suffix : {"_test", "_val", "_dev"})
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  return replaced(name, "_", " ");
}

std::string solved(const Question& question) {
  if (question.options.empty()) return question.prompt + " " + question.reference;
  const Option& right = question.options[question.answer];
  return right.context + right.continuation;
}

// A share of right answers with Wilson's (1927) bounds; the error is the harness's.
Figure share_figure(std::span<const double> right) {
  const double n = static_cast<double>(right.size());
  double sum = 0;
  for (const double value : right) sum += value;
  const double p = sum / n;
  const auto end = [&](double z) {
    return std::clamp((p + z * z / (2 * n) + z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n),
                      0.0, 1.0);
  };
  Figure figure{
      .value = p, .gaussian_error = n > 1 ? std::sqrt(p * (1 - p) / (n - 1)) : 0, .certainty = Certainty::interval};
  figure.low = end(-kTwoSided);
  figure.high = end(kTwoSided);
  figure.lower_bound = end(-kOneSided);
  figure.upper_bound = end(kOneSided);
  return figure;
}

// The difference of two paired shares with Agresti and Min's (2005) bounds: half an answer more in each of the four
// cells.
Figure difference_figure(double to_wrong, double to_right, double n) {
  const double wrong = to_wrong + 0.5, right = to_right + 0.5, total = n + 2, centre = (right - wrong) / total;
  const double error = std::sqrt(std::max(0.0, (wrong + right) / total - centre * centre) / total);
  Figure figure{.value = (to_right - to_wrong) / n, .certainty = Certainty::interval};
  figure.low = std::max(-1.0, centre - kTwoSided * error);
  figure.high = std::min(1.0, centre + kTwoSided * error);
  figure.lower_bound = std::max(-1.0, centre - kOneSided * error);
  figure.upper_bound = std::min(1.0, centre + kOneSided * error);
  return figure;
}

using Answers = std::span<const Answer>;

BleuCounts corpus(Answers answers, std::span<const std::uint16_t> times) {
  BleuCounts sum;
  for (std::size_t i = 0; i < answers.size(); ++i)
    for (std::uint16_t k = 0; k < times[i]; ++k) sum += answers[i].bleu;
  return sum;
}

// Percentiles over resampled sentences (Koehn 2004); of the difference where there is an original.
Figure bleu_figure(Answers answers, Answers original, ThreadPool& pool) {
  const Blocks blocks = equal_blocks({answers.size()}, 1);
  const auto value = [&](std::span<const std::uint16_t> times) {
    return bleu_of(corpus(answers, times)) - (original.empty() ? 0 : bleu_of(corpus(original, times)));
  };
  Figure figure{.value = value(std::vector<std::uint16_t>(answers.size(), 1)), .certainty = Certainty::too_few_blocks};
  if (answers.size() < kFewestBlocks) return figure;
  const BootstrapOptions options;
  std::vector<double> drawn(options.replicates);
  for_each_resample(blocks, options, pool, [&](std::size_t replicate, std::span<const std::uint16_t> times) {
    drawn[replicate] = value(times);
  });
  std::sort(drawn.begin(), drawn.end());
  figure.certainty = Certainty::interval;
  figure.low = quantile(drawn, 0.025);
  figure.high = quantile(drawn, 0.975);
  figure.lower_bound = quantile(drawn, 0.05);
  figure.upper_bound = quantile(drawn, 0.95);
  return figure;
}

std::vector<double> values_of(Answers answers, double (*value)(const Answer&)) {
  std::vector<double> result;
  for (const Answer& answer : answers) result.push_back(value(answer));
  return result;
}

double is_right(const Answer& answer) { return answer.right ? 1 : 0; }
double is_right_norm(const Answer& answer) { return answer.right_norm ? 1 : 0; }
double nll_of(const Answer& answer) { return -answer.scores.front().log_likelihood; }

// The measures that count right answers.
struct CountedMeasure {
  const char* name;
  double (*right)(const Answer&);
  bool (*differs)(const Answer&, const Answer&);
};

std::vector<CountedMeasure> counted_measures(const Task& task) {
  const auto chosen = [](const Answer& a, const Answer& b) { return a.chosen != b.chosen; };
  const auto chosen_norm = [](const Answer& a, const Answer& b) { return a.chosen_norm != b.chosen_norm; };
  const auto right = [](const Answer& a, const Answer& b) { return a.right != b.right; };
  const auto text = [](const Answer& a, const Answer& b) { return a.text != b.text; };
  switch (task.kind) {
    case TaskKind::choice:
      if (task.normalised) return {{"acc", is_right, chosen}, {"acc_norm", is_right_norm, chosen_norm}};
      return {{"acc", is_right, chosen}};
    case TaskKind::last_word:
      return {{"acc", is_right, right}};
    case TaskKind::exact_match:
      return {{"exact_match", is_right, text}, {"flexible_match", is_right_norm, text}};
    case TaskKind::bleu:
      break;
  }
  return {};
}

std::vector<TaskMeasure> measures_of(const Task& task, Answers answers, ThreadPool& pool) {
  std::vector<TaskMeasure> measures;
  for (const CountedMeasure& measure : counted_measures(task))
    measures.push_back({measure.name, share_figure(values_of(answers, measure.right))});
  if (task.kind == TaskKind::last_word) {
    const std::vector<double> nll = values_of(answers, nll_of);
    const Figure mean = bootstrap_mean(nll, equal_blocks({nll.size()}, 1), {}, pool);
    measures.push_back({"perplexity", transformed(mean, [](double x) { return std::exp(x); }, std::exp(mean.value))});
  }
  if (task.kind == TaskKind::bleu) measures.push_back({"bleu", bleu_figure(answers, {}, pool)});
  return measures;
}

std::vector<TaskChange> changes_of(const Task& task, Answers answers, Answers original, ThreadPool& pool) {
  std::vector<TaskChange> changes;
  for (const CountedMeasure& measure : counted_measures(task)) {
    TaskChange change{.name = measure.name, .difference = {}};
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const double before = measure.right(original[i]), after = measure.right(answers[i]);
      change.changed += measure.differs(original[i], answers[i]) ? 1 : 0;
      change.to_wrong += before > after ? 1 : 0;
      change.to_right += after > before ? 1 : 0;
    }
    change.difference = difference_figure(static_cast<double>(change.to_wrong), static_cast<double>(change.to_right),
                                          static_cast<double>(answers.size()));
    change.mcnemar = mcnemar_p(change.to_wrong, change.to_right);
    changes.push_back(std::move(change));
  }
  if (task.kind == TaskKind::bleu) {
    TaskChange change{.name = "bleu", .difference = bleu_figure(answers, original, pool)};
    for (std::size_t i = 0; i < answers.size(); ++i) change.changed += answers[i].text != original[i].text ? 1 : 0;
    changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace

std::vector<QuestionFile> read_questions(const Task& task, const std::vector<TaskFile>& files,
                                         const ShotOptions& shots) {
  if (shots.questions.size() < shots.count)
    throw Error(ErrorKind::unusable_input, fmt::format("there are fewer solved examples than are to be shown: {} of {}",
                                                       shots.questions.size(), shots.count));
  std::vector<QuestionFile> result;
  for (const TaskFile& file : files) {
    std::string before = replaced(std::string(task.preamble), "{subject}", subject_of(file.name));
    for (std::size_t i = 0; i < shots.count; ++i) before += solved(shots.questions[i]) + "\n\n";
    QuestionFile& questions = result.emplace_back(QuestionFile{file.name, task.read(file)});
    for (Question& question : questions.questions) {
      if (!question.prompt.empty()) question.prompt = before + question.prompt;
      for (Option& option : question.options) option.context = before + option.context;
    }
  }
  return result;
}

TaskRun::TaskRun(const Task& task, std::vector<QuestionFile> files, std::size_t num_models)
    : task_(task), files_(std::move(files)), answers_(num_models) {}

std::size_t TaskRun::planned() const {
  std::size_t count = 0;
  for (const QuestionFile& file : files_) count += file.questions.size();
  return count;
}

std::size_t TaskRun::answered(std::size_t num_models) const {
  std::size_t count = planned();
  for (std::size_t m = 0; m < num_models; ++m) count = std::min(count, answers_[m].size());
  return count;
}

void TaskRun::ask(std::span<Answerer> models, std::size_t first, const ProgressCallback& progress) {
  ProgressMeter meter(progress, "evaluate", planned());
  meter.report(0);
  std::size_t done = 0;
  for (const QuestionFile& file : files_)
    for (const Question& question : file.questions) {
      const TextCallback still_wanted = [&](std::string_view) {
        meter.report(done, file.name);
        return true;
      };
      std::vector<Answer> given;
      for (Answerer& model : models) try {
          given.push_back(model.answer(question, still_wanted));
        } catch (const Error& error) {
          if (error.kind() == ErrorKind::cancelled) throw;
          throw Error(error.kind(), fmt::format("{}, line {}: {}", file.name, question.line, error.what()));
        }
      for (std::size_t m = 0; m < models.size(); ++m) answers_[first + m].push_back(std::move(given[m]));
      meter.report(++done, file.name);
    }
}

TaskVerdict judge_task(const TaskRun& run, const std::vector<std::string>& names, bool paired, ThreadPool& pool) {
  const std::size_t answered = run.answered(names.size());
  if (answered == 0)
    throw Error(ErrorKind::unusable_input,
                fmt::format("not one question was answered, so there is nothing to judge: 0 of {}", run.planned()));
  TaskVerdict verdict{.task = std::string(run.task().name),
                      .files = {},
                      .questions = answered,
                      .planned = run.planned(),
                      .models = {},
                      .answered = {}};
  for (const QuestionFile& file : run.files()) verdict.files.push_back(file.name);
  const auto answers_of = [&](std::size_t m) { return Answers(run.answers()[m]).first(answered); };
  for (std::size_t m = 0; m < names.size(); ++m) {
    const Answers answers = answers_of(m);
    TaskScores scores{names[m], measures_of(run.task(), answers, pool), {}, {}};
    std::size_t begin = 0;
    for (const QuestionFile& file : run.files()) {
      const std::size_t count = std::min(file.questions.size(), answers.size() - begin);
      if (run.files().size() > 1 && count > 0)
        scores.files.push_back(measures_of(run.task(), answers.subspan(begin, count), pool));
      begin += count;
    }
    if (paired && m > 0) scores.changes = changes_of(run.task(), answers, answers_of(0), pool);
    verdict.models.push_back(std::move(scores));
  }
  for (const QuestionFile& file : run.files())
    for (const Question& question : file.questions) {
      const std::size_t q = verdict.answered.size();
      if (q == answered) return verdict;
      AnsweredQuestion& item =
          verdict.answered.emplace_back(AnsweredQuestion{file.name, question.line, question.answer, {}});
      for (std::size_t m = 0; m < names.size(); ++m) item.answers.push_back(run.answers()[m][q]);
    }
  return verdict;
}

}  // namespace nibble
