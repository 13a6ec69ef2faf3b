// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/budgeted_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/config.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/runtime.h"
#include "pipeline/quantize/layer_learner.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/role_formats.h"
#include "train/learned_rounding.h"

namespace nibble {
namespace {

constexpr double kCloseEnough = 0.92;        // of the limit: a smaller output would gain little
constexpr double kAim = 0.97;                // of the limit: what the next round is to measure
constexpr double kResolution = 1.03;         // between what was met and what was missed, beyond which no round is spent
constexpr std::size_t kWindowsToJudge = 64;  // where a divergence must be kept
constexpr std::size_t kWindowsToMeasure = kFewestBlocks;  // where it is only told: as many as an interval takes
constexpr std::size_t kWindowsToExplain = 8;              // in f32 arithmetic, where it is not what was expected
constexpr double kLeastShare = 0.125, kLargestShare = 0.5;

// The texts of `request`, or the ends of the calibration texts, which `options` then lacks.
std::vector<NamedText> judging_texts(const SourceModel& source, QuantizeModelOptions& options,
                                     const BudgetRequest& request) {
  const Tokenizer& tokenizer = source.tokenizer();
  const std::uint64_t model_context = source.config().context;
  std::vector<NamedText> texts = request.verify.texts;
  if (texts.empty()) {
    std::size_t tokens = 0;
    const EncodeOptions encoding{.parse_special = options.calibration.sampling.parse_special};
    for (const CalibrationText& text : options.calibration.texts)
      tokens += tokenizer.encode(text.text, encoding).size();
    const std::size_t context = request.verify.judge.windows.context != 0 ? request.verify.judge.windows.context
                                : model_context != 0                      ? std::min<std::uint64_t>(512, model_context)
                                                                          : 512;
    const double wanted =
        tokens == 0 ? 0 : static_cast<double>(kWindowsToJudge * context) / static_cast<double>(tokens);
    auto [rest, held] = hold_out(options.calibration.texts, std::clamp(wanted, kLeastShare, kLargestShare));
    options.calibration.texts = std::move(rest);
    texts = std::move(held);
  }
  std::size_t windows = 0;
  for (const ReadText& text : read_texts(texts, tokenizer, model_context, request.verify.judge.windows))
    windows += text.windows.count;
  if (request.budget.max_kl && windows < kFewestBlocks)
    throw Error(ErrorKind::unusable_input,
                fmt::format("whether a divergence is kept cannot be judged on so little text; give a longer one, or "
                            "another to judge by: {} windows, "
                            "at least {}",
                            windows, kFewestBlocks),
                "verify.texts");
  return texts;
}

// Error(invalid_argument) for a format that the container has no place for.
void take_named(SensitivityOptions& measuring, const Container& container) {
  measuring.formats = measuring.named_formats;
  measuring.other_formats.clear();
  for (const std::string& name : measuring.named_formats)
    if (const std::string why = container.refusal({"", {4096, 4096}, find_format(name)}, TensorRole::linear);
        !why.empty())
      throw Error(ErrorKind::invalid_argument, fmt::format("{}: {}", name, why), "candidates");
}

// False: the container leaves it at the usual ones.
bool take_formats_of(SensitivityOptions& measuring, const Container& container, const QuantizeModelOptions& options) {
  if (container.budget_formats().empty()) return false;
  if (container.budget_formats().size() == 1)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a budget mixes formats, and the container {} has one for all layers: name it, as in -f {}",
                            container.name(), container.budget_formats().front()));
  measuring.formats = container.budget_formats();
  measuring.other_formats = container.other_budget_formats();
  if (measuring.method.learning != LayerLearning::none) {  // which needs codes that stand for themselves
    std::ranges::move(measuring.other_formats, std::back_inserter(measuring.formats));
    measuring.other_formats.clear();
    std::erase_if(measuring.formats,
                  [](const std::string& name) { return !LearnedRounding::refusal(*find_format(name)).empty(); });
  }
  if (options.onnx.is_half)  // whose scales are halves, too
    for (std::string& format : measuring.formats)
      if (const std::size_t at = format.find(":f32"); at != std::string::npos) format.erase(at);
  return true;
}

class Search {
 public:
  Search(const SourceModel& source, const QuantizeModelOptions& options, const BudgetRequest& request, Machine& machine,
         const ProgressCallback& progress)
      : source_(source),
        options_(options),
        request_(request),
        verify_(request.verify),
        machine_(machine),
        progress_(progress) {
    result_.held_out = verify_.texts.empty();
    verify_.texts = judging_texts(source, options_, request);
    if (result_.held_out && !request.budget.max_kl && verify_.judge.windows.max_windows == 0)
      verify_.judge.windows.max_windows = kWindowsToMeasure;
    if (request.budget.max_kl) {
      const std::string limit = fmt::format("kl<={}", *request.budget.max_kl);
      verify_.requirements.push_back(parse_requirements(limit).front());
    }
  }

  BudgetedQuantization run() {
    SensitivityOptions measuring = for_output(request_.sensitivity, options_);
    measuring.progress = progress_;
    refuse_unreachable(measuring);
    require_learnable(measuring.formats, options_);
    probe_.emplace(source_, options_.calibration.texts, measuring, machine_);
    sensitivities_ = probe_->measure();
    request_.budget.max_kl ? meet_divergence(*request_.budget.max_kl) : meet_size();
    return std::move(result_);
  }

 private:
  void refuse_unreachable(const SensitivityOptions& measuring) {
    Budget budget = request_.budget;
    if (budget.max_kl) return;
    QuantizeModelOptions smallest = options_;
    smallest.recipe = require_reachable(source_, measuring, budget);
    if (!budget.bytes) return;
    const std::uint64_t other = container_bytes(source_, smallest);
    budget.bytes = *budget.bytes - std::min(*budget.bytes, other);
    require_reachable(source_, measuring, budget);
  }

  SolvedRecipe plan(const Budget& budget) {
    const PlannedMix planned = plan_mix(*probe_, sensitivities_, budget);
    probe_.reset();  // its memory is what quantizing needs now
    result_.mixes = planned.measured;
    if (request_.on_plan) request_.on_plan(planned);
    return planned.solved;
  }

  void meet_size() {
    Budget budget = request_.budget;
    if (budget.bytes) {
      // The file is what must not be larger, and its header depends on the recipe a little.
      options_.recipe = solve_recipe(sensitivities_, budget).recipe;
      const std::uint64_t other = container_bytes(source_, options_);
      budget.bytes = *budget.bytes - std::min(*budget.bytes, other);
    }
    round(plan(budget));
  }

  void meet_divergence(double limit) {
    const auto least_of = [this] {
      double least = 0;
      for (const BudgetItem& item : sensitivities_.items)
        least += std::ranges::min_element(item.candidates, {}, &BudgetCandidate::loss)->loss;
      return least * (1 + 1e-9);  // sums in another order
    };
    double expected = std::max(limit, least_of());
    SolvedRecipe solved = plan({.max_kl = expected});
    const double least = least_of();  // planning corrects losses
    std::vector<JudgedExpectation> tried;
    std::uint64_t smallest = std::numeric_limits<std::uint64_t>::max(), last = 0;
    for (int i = 0; i < request_.max_rounds; ++i) {
      if (i > 0) solved = solve_recipe(sensitivities_, {.max_kl = expected});
      if (solved.bytes == last || solved.bytes >= smallest) return;
      last = solved.bytes;
      const BudgetRound& judged = round(solved);
      if (judged.accepted) smallest = solved.bytes;
      if (!judged.accepted && expected <= least) return;
      tried.push_back(
          {solved.expected_kl, judged.kl.certainty == Certainty::interval ? judged.kl.upper_bound : judged.kl.value});
      const std::optional<double> next = next_expectation(tried, limit);
      if (!next) return;
      expected = std::max(*next, least);
    }
  }

  // What the weights lose without the engine's rounding of inputs, keys and values.
  double weights_divergence() {
    JudgeOptions judge = verify_.judge;
    judge.kernels.activations = ActivationMode::f32;
    judge.kv = KvType::f16;
    judge.windows.max_windows =
        judge.windows.max_windows == 0 ? kWindowsToExplain : std::min(judge.windows.max_windows, kWindowsToExplain);
    judge.progress = progress_;
    const SourceModel output = SourceModel::open(options_.output);
    return judge_models(source_, {{options_.output.string(), &output}}, verify_.texts, judge, machine_)
        .candidates[0]
        .overall[Metric::kl_mean]
        .value;
  }

  const BudgetRound& round(const SolvedRecipe& solved) {
    options_.recipe = solved.recipe;
    VerifiedQuantization outcome = quantize_verified(source_, options_, verify_, machine_, progress_);
    BudgetRound judged{.mostly = solved.recipe.main_format,
                       .bits_per_weight = solved.bits_per_weight,
                       .tensor_bytes = solved.bytes,
                       .output_bytes = outcome.summary.output_bytes,
                       .expected_kl = solved.expected_kl,
                       .kl = outcome.verdict.candidates[0].overall[Metric::kl_mean],
                       .weights_kl = {},
                       .accepted = outcome.released};
    // The verdict tells the weights' loss by itself, unless nobody wanted it split.
    if (judged.accepted && !judged.agrees()) {
      const auto& split = outcome.verdict.candidates[0].split;
      judged.weights_kl = split ? split->weights[Metric::kl_mean].value : weights_divergence();
    }
    if (judged.accepted || !result_.outcome.released) {
      result_.outcome = std::move(outcome);
      result_.recipe = solved.recipe;
      result_.kept = result_.rounds.size();
    }
    result_.rounds.push_back(std::move(judged));
    if (request_.on_round) request_.on_round(result_.rounds.back());
    return result_.rounds.back();
  }

  const SourceModel& source_;
  QuantizeModelOptions options_;
  const BudgetRequest& request_;
  VerifyOptions verify_;
  Machine& machine_;
  const ProgressCallback& progress_;
  std::optional<SensitivityProbe> probe_;
  Sensitivities sensitivities_;
  BudgetedQuantization result_;
};

}  // namespace

std::pair<std::vector<CalibrationText>, std::vector<NamedText>> hold_out(const std::vector<CalibrationText>& texts,
                                                                         double share) {
  std::pair<std::vector<CalibrationText>, std::vector<NamedText>> result;
  for (const CalibrationText& text : texts) {
    std::size_t cut = static_cast<std::size_t>(static_cast<double>(text.text.size()) * (1 - share));
    const std::size_t line = text.text.rfind('\n', cut);
    if (line != std::string::npos && line > 0) {
      cut = line + 1;
    } else {
      while (cut < text.text.size() && (static_cast<unsigned char>(text.text[cut]) & 0xC0u) == 0x80u)
        ++cut;  // not within a character
    }
    result.first.push_back({text.name, text.text.substr(0, cut)});
    result.second.push_back({text.name + " (held out)", text.text.substr(cut)});
  }
  return result;
}

SensitivityOptions for_output(SensitivityOptions measuring, const QuantizeModelOptions& options) {
  measuring.method = method_for(TensorPlan{}, options);
  measuring.calibration.length = options.calibration.sampling.length;
  measuring.calibration.parse_special = measuring.sampling.parse_special = options.calibration.sampling.parse_special;
  measuring.walk = options.calibration.walk;
  measuring.spill_directory = options.calibration.spill_directory;
  const Container& container = choose_container(options.container, options.output, [&] {
    return std::ranges::any_of(measuring.named_formats, [](const std::string& name) {
      return find_format(name)->info().kind == FormatKind::planar;
    });
  });
  if (!measuring.named_formats.empty())
    take_named(measuring, container);
  else if (!take_formats_of(measuring, container, options))
    return measuring;
  const Runtime* const runtime = options.runtime.empty() ? nullptr : &find_runtime(options.runtime);
  measuring.is_refused = [&container, runtime](const ModelTensor& tensor, const FormatPtr& format) {
    const PlannedTensor planned{container.name_of(tensor), tensor.shape, format};
    return tensor.shape.back() % format->info().row_multiple != 0 || !serves(*format, tensor.role) ||
           !container.refusal(planned, tensor.role).empty() ||
           (runtime != nullptr && !runtime->refusal(planned).empty());
  };
  measuring.is_plain = [&container, named = measuring.named_formats,
                        is_refused = measuring.is_refused](const ModelTensor& tensor) {
    return !container.takes_codes(tensor.role) ||
           (!named.empty() &&
            std::ranges::all_of(named, [&](const std::string& name) { return is_refused(tensor, find_format(name)); }));
  };
  return measuring;
}

std::optional<double> next_expectation(std::span<const JudgedExpectation> tried, double limit) {
  const JudgedExpectation *met = nullptr, *missed = nullptr;
  for (const JudgedExpectation& round : tried) {
    if (round.measured <= limit && (met == nullptr || round.expected > met->expected)) met = &round;
    if (round.measured > limit && (missed == nullptr || round.expected < missed->expected)) missed = &round;
  }
  if (met != nullptr && met->measured >= kCloseEnough * limit) return std::nullopt;
  if (met != nullptr && missed != nullptr && missed->expected < kResolution * met->expected) return std::nullopt;
  const JudgedExpectation& from = met != nullptr ? *met : *missed;
  if (!(from.measured > 0)) return 2 * from.expected;
  // Divergences grow in proportion as long as two rounds have not shown otherwise.
  const JudgedExpectation* other = met != nullptr ? missed : nullptr;
  if (other == nullptr && tried.size() > 1)
    other = &tried[tried.size() - 1] == &from ? &tried[tried.size() - 2] : &tried.back();
  double slope = 1;
  if (other != nullptr && other->measured > 0 && other->expected != from.expected)
    slope = std::clamp(std::log(other->measured / from.measured) / std::log(other->expected / from.expected), 0.4, 3.0);
  const double next = from.expected * std::pow(kAim * limit / from.measured, 1 / slope);
  if (met == nullptr || missed == nullptr) return next;
  const double apart = missed->expected / met->expected;
  return std::clamp(next, met->expected * std::pow(apart, 0.1), met->expected * std::pow(apart, 0.9));
}

BudgetedQuantization quantize_to_budget(const SourceModel& source, const QuantizeModelOptions& options,
                                        const BudgetRequest& request, Machine& machine,
                                        const ProgressCallback& progress) {
  if (options.calibration.texts.empty())
    throw Error(ErrorKind::invalid_argument,
                "a budget is met by measuring on text what each tensor costs, and the result is judged on a part of it "
                "that is held out, or on a "
                "text of its own; give a text",
                "texts");
  return Search(source, options, request, machine, progress).run();
}

}  // namespace nibble
