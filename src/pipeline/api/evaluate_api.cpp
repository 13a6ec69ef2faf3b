// SPDX-License-Identifier: Apache-2.0
#include "nibble/evaluate.h"

#include <fmt/format.h>

#include "evaluate/acceptance.h"
#include "evaluate/metrics.h"
#include "nibble/error.h"
#include "nibble/tasks.h"
#include "pipeline/api/model_state.h"
#include "pipeline/judge/judge_models.h"
#include "pipeline/judge/judge_tasks.h"

namespace nibble {
namespace {

// What is lost by keeping keys and values in so few bits is a loss of the candidate's: an original has f16 beside them.
std::optional<KvType> original_kv(const EvaluateRequest& request) {
  if (const auto kv = api::kv_of(request.original_keys_values)) return kv;
  const auto kv = api::kv_of(request.arithmetic.keys_values);
  return kv && kv_code_bits(*kv) != 0 ? std::optional(KvType::f16) : std::nullopt;
}

JudgeOptions judge_options(const EvaluateRequest& request) {
  JudgeOptions options;
  options.kernels = api::kernels_of(request.arithmetic);
  options.kv = api::kv_of(request.arithmetic.keys_values);
  options.original_kv = original_kv(request);
  options.windows = {request.protocol, request.context, request.max_windows, request.parse_special};
  options.progress = request.progress;
  options.keep_partial = request.keep_partial;
  options.layers = request.layers;
  options.split_windows = request.split_windows;
  return options;
}

std::vector<NamedCheckpoint> checkpoints_of(const std::vector<NamedModel>& models) {
  std::vector<NamedCheckpoint> result;
  for (const NamedModel& model : models) result.push_back({model.name, &model.model.state().checkpoint});
  return result;
}

}  // namespace

MetricDescription describe_metric(Metric metric) {
  const MetricInfo& info = describe(metric);
  return {info.key, info.title, info.meaning};
}

PairedVerdict evaluate(const Model& model, const std::vector<NamedText>& texts, const EvaluateRequest& request) {
  return evaluate_against({}, model, texts, request);
}

PairedVerdict evaluate_against(const std::vector<NamedModel>& candidates, const Model& original,
                               const std::vector<NamedText>& texts, const EvaluateRequest& request) {
  if (texts.empty()) throw Error(ErrorKind::unusable_input, "there is no text to read; give one at least", "texts");
  const JudgeOptions options = judge_options(request);
  Machine machine = api::make_machine(request.machine);
  return judge_models(original.state().checkpoint, checkpoints_of(candidates), texts, options, machine);
}

std::vector<Requirement> read_requirements(std::string_view text) { return parse_requirements(text); }

Acceptance judge_acceptance(const PairedVerdict& verdict, std::size_t candidate,
                            const std::vector<Requirement>& requirements) {
  if (candidate >= verdict.candidates.size())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the verdict has no candidate {}; it has {}", candidate, verdict.candidates.size()));
  return accept(verdict, candidate, requirements);
}

TaskVerdict evaluate_task(const std::vector<NamedModel>& models, const EvaluateTaskRequest& request) {
  if (models.empty()) throw Error(ErrorKind::invalid_argument, "there is no model to ask; give one at least");
  JudgeTaskOptions options{.task = request.task,
                           .files = request.files,
                           .shots = request.shots,
                           .num_shots = request.num_shots,
                           .limit = request.limit,
                           .paired = request.paired};
  options.answers.max_tokens = request.max_tokens;
  options.engine.kernels = api::kernels_of(request.arithmetic);
  options.engine.kv = api::kv_of(request.arithmetic.keys_values);
  options.engine.progress = request.progress;
  options.engine.keep_partial = request.keep_partial;
  Machine machine = api::make_machine(request.machine);
  return judge_tasks(checkpoints_of(models), options, machine);
}

std::vector<TaskDescription> list_task_descriptions() {
  std::vector<TaskDescription> tasks;
  for (const std::string& name : list_task_names()) tasks.push_back({name, std::string(find_task(name).description)});
  return tasks;
}

}  // namespace nibble
