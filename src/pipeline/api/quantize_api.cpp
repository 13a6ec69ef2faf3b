// SPDX-License-Identifier: Apache-2.0
#include "nibble/quantize.h"

#include <fmt/format.h>

#include "nibble/error.h"
#include "pipeline/api/model_state.h"
#include "pipeline/budget/budgeted_quantization.h"
#include "pipeline/export/container.h"
#include "pipeline/quantize/quantize_layers.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/recipe_json.h"
#include "pipeline/quantize/verified_quantization.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/mixes.h"

namespace nibble {
namespace {

[[noreturn]] void refuse(const std::string& message, const char* setting = "") {
  throw Error(ErrorKind::invalid_argument, message, setting);
}

bool has_budget(const QuantizeRequest& request) {
  return request.budget.bits_per_weight || request.budget.bytes || request.budget.max_kl;
}

void judge_request(const QuantizeRequest& request) {
  const Budget& budget = request.budget;
  const int budgets = (budget.bits_per_weight ? 1 : 0) + (budget.bytes ? 1 : 0) + (budget.max_kl ? 1 : 0);
  if ((request.format.empty() ? 0 : 1) + (request.recipe.empty() ? 0 : 1) + budgets != 1)
    refuse("name one of a format, a recipe and a budget (bits_per_weight, bytes or max_kl)", "format");
  if (budgets > 0 && request.calibration.texts.empty())
    refuse("a budget is met by measuring on text what each tensor costs; give calibration texts", "texts");
  if (budgets > 0 && !(request.include.empty() && request.exclude.empty()))
    refuse("a budget decides of every matrix; include and exclude go with a format or a recipe");
  if (request.output.empty() && !request.dry_run) refuse("no output is named");
  if (!request.verify.requirements.empty() && request.verify.texts.empty() && budgets == 0)
    refuse("what is required is judged on a text; give texts to verify on", "verify");
  if (request.dry_run && !request.verify.texts.empty()) refuse("a dry run writes nothing that could be verified");
}

// Error(invalid_argument) where the model would not look at the texts or statistics that are given.
void refuse_idle_calibration(const SourceModel& source, const QuantizeModelOptions& options) {
  const Calibration& calibration = options.calibration;
  if (calibration.statistics == nullptr && calibration.texts.empty()) return;
  const bool is_static = options.activations && options.activations->format.is_static();
  if (calibration.statistics != nullptr && !calibration.texts.empty() && !is_static)
    refuse("statistics take the place of texts; leave out one of the two", "texts");
  if (!is_static && !needs_calibration(plan_quantization(source, options), options))
    refuse(fmt::format("texts and statistics have no effect with the method {}, which looks at weights only; name one "
                       "that looks at the data (imatrix, gptq, awq)",
                       options.method),
           "method");
}

QuantizeModelOptions options_of(const QuantizeRequest& request) {
  QuantizeModelOptions options;
  if (!request.format.empty()) choose_format(options, request.format);
  if (!request.recipe.empty()) options.recipe = recipe_from_json(request.recipe, "the recipe");
  options.method = request.method;
  if (!request.fit.empty()) options.fit = find_fit(request.fit);
  options.transform = request.transform;
  options.round = request.round;
  options.smoothquant_alpha = request.smoothquant_alpha;
  options.learning = request.learning;
  if (!request.activation_fit.empty()) {
    if (!options.activations || !options.activations->format.is_static())
      refuse("only static grids of activations are fitted; name a format such as int8:row+a8:static");
    options.activations->fit = find_fit(request.activation_fit);
  }
  options.include = request.include;
  options.exclude = request.exclude;
  options.embedding = request.embedding;
  options.head = request.head;
  options.output = request.output;
  options.container = request.container;
  options.allow_requantize = request.allow_requantize;
  options.strict = request.strict;
  options.dry_run = request.dry_run;
  options.sync = request.sync;
  options.on_layer = request.on_layer;
  const CalibrationRequest& calibration = request.calibration;
  if (!calibration.statistics.empty()) options.calibration.statistics = &calibration.statistics.state()->numbers;
  options.calibration.texts = api::calibration_texts(calibration.texts);
  options.calibration.sampling = calibration.sampling;
  options.calibration.kernels = api::kernels_of({});
  options.calibration.walk = calibration.arithmetic;
  options.calibration.spill_directory = calibration.spill_directory;
  return options;
}

VerifyOptions verify_options(const QuantizeRequest& request) {
  VerifyOptions options{.texts = request.verify.texts, .requirements = request.verify.requirements};
  options.judge.kernels = api::kernels_of({});
  options.judge.split_windows = request.verify.split_windows;
  options.judge.windows.parse_special = request.calibration.sampling.parse_special;
  return options;
}

void take_over(VerifiedQuantization&& verified, Quantized& result) {
  result.summary = std::move(verified.summary);
  result.verdict = std::move(verified.verdict);
  result.acceptance = std::move(verified.acceptance);
  result.written = verified.released;
}

void quantize_within_budget(const SourceModel& source, const QuantizeRequest& request, QuantizeModelOptions& options,
                            Machine& machine, Quantized& result) {
  SensitivityOptions sensitivity = for_output({}, options);
  sensitivity.kernels = options.calibration.kernels;
  sensitivity.progress = request.progress;
  if (request.dry_run) {
    if (!request.budget.max_kl) require_reachable(source, sensitivity, request.budget);
    const Sensitivities measured = measure_sensitivities(source, options.calibration.texts, sensitivity, machine);
    options.recipe = solve_recipe(measured, request.budget).recipe;
    result.recipe = recipe_to_json(options.recipe);
    result.summary = quantize_model(source, options, machine, request.progress);
    return;
  }
  BudgetedQuantization made = quantize_to_budget(
      source, options, {.budget = request.budget, .verify = verify_options(request), .sensitivity = sensitivity},
      machine, request.progress);
  for (const BudgetRound& round : made.rounds)
    result.attempts.push_back({round.bits_per_weight, round.output_bytes, round.expected_kl, round.kl, round.accepted});
  result.recipe = recipe_to_json(made.recipe);
  take_over(std::move(made.outcome), result);
}

}  // namespace

Quantized quantize(const Model& model, const QuantizeRequest& request) {
  judge_request(request);
  const SourceModel& source = model.state().checkpoint;
  QuantizeModelOptions options = options_of(request);
  Machine machine = api::make_machine(request.machine);
  Quantized result;
  if (has_budget(request)) {
    quantize_within_budget(source, request, options, machine, result);
  } else {
    refuse_idle_calibration(source, options);
    result.recipe = recipe_to_json(options.recipe);
    if (request.verify.texts.empty()) {
      result.summary = quantize_model(source, options, machine, request.progress);
      result.written = !request.dry_run;
    } else {
      take_over(quantize_verified(source, options, verify_options(request), machine, request.progress), result);
    }
  }
  result.substitutions_text = describe_substitutions(result.summary);
  return result;
}

std::string recipe_json(std::string_view format) { return recipe_to_json(find_recipe(format)); }

std::vector<MethodDescription> list_method_descriptions() {
  std::vector<MethodDescription> methods;
  for (const Method& method : list_methods()) {
    const StatisticsNeed need = method.needs() == Needs::nothing       ? StatisticsNeed::none
                                : method.needs() == Needs::mean_square ? StatisticsNeed::mean_squares
                                                                       : StatisticsNeed::second_moments;
    methods.push_back({method.name, method.description, need});
  }
  return methods;
}

std::vector<NameDescription> list_fit_descriptions() {
  std::vector<NameDescription> fits;
  for (const NamedFit& fit : list_fits()) fits.push_back({std::string(fit.name), std::string(fit.description)});
  return fits;
}

std::vector<NameDescription> list_container_descriptions() {
  std::vector<NameDescription> containers;
  for (const Container* const container : list_containers())
    containers.push_back({std::string(container->name()), std::string(container->description())});
  return containers;
}

}  // namespace nibble
