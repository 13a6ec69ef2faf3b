// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/sensitivity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/progress_meter.h"
#include "nibble/error.h"
#include "pipeline/budget/trial_walk.h"
#include "pipeline/quantize/folded_rotation.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

// A divergence beyond which the second order no longer tells what a finer format loses, in nats: the next one is
// measured, too, whose squared error is at least so many times smaller.
constexpr double kStrong = 0.005, kNextError = 3;
constexpr int kMostRounds = 5;

CalibrationTokens windows_of(const SourceModel& checkpoint, std::span<const CalibrationText> texts,
                             const SamplingOptions& sampling) {
  if (texts.empty())
    throw Error(ErrorKind::invalid_argument, "what each tensor costs is measured on text; give some", "texts");
  return choose_windows(texts, checkpoint.tokenizer(), sampling, checkpoint.config().context);
}

// Tensors that share a format, and what is known of each candidate.
struct Group {
  BudgetItem item;
  std::vector<FormatPtr> formats;
  std::vector<double> errors;          // of candidates
  std::vector<MeasuredLoss> measured;  // of these

  // The next candidate to be measured; none: what was measured tells enough.
  std::optional<std::size_t> next() const {
    if (measured.empty()) return 0;
    if (measured.back().loss <= kStrong) return std::nullopt;
    std::optional<std::size_t> best;
    for (std::size_t f = 0; f < formats.size(); ++f)
      if (errors[f] * kNextError <= measured.back().error && (!best || errors[f] > errors[*best])) best = f;
    return best;
  }
};

std::string group_name(const std::vector<const ModelTensor*>& tensors, bool tied) {
  if (const std::string& part = tensors.front()->part; tensors.front()->layer < 0)
    return tied && part == "embedding" ? "embedding and head" : part;
  std::string name = fmt::format("layer {},", tensors.front()->layer);
  std::vector<std::string> kinds;  // experts have one format
  for (const ModelTensor* const tensor : tensors)
    if (std::ranges::find(kinds, tensor->kind) == kinds.end()) kinds.push_back(tensor->kind);
  for (const std::string& kind : kinds) name += " " + kind;
  return name;
}

// Whether a tensor has no part in the mix.
bool is_left(const ModelTensor& tensor, const SensitivityOptions& options) {
  return stays_in_float(tensor.role) || (options.is_plain && options.is_plain(tensor));
}

Group make_group(const std::vector<const ModelTensor*>& tensors, const SensitivityOptions& options, bool tied) {
  Group group;
  group.item.name = group_name(tensors, tied);
  group.formats = candidate_formats(options, tensors.front()->shape.back(), tensors);
  if (group.formats.empty())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the container holds none of the formats that are tried for {}", group.item.name));
  group.errors.resize(group.formats.size());
  for (const FormatPtr& format : group.formats) group.item.candidates.push_back({format->name(), 0, 0});
  for (const ModelTensor* const tensor : tensors) {
    std::vector<std::string>& names = group.item.tensors;
    if (std::ranges::find(names, tensor->gguf_name) == names.end()) names.push_back(tensor->gguf_name);
    for (std::size_t f = 0; f < group.formats.size(); ++f)
      group.item.candidates[f].bytes += plane_bytes(*group.formats[f], tensor->shape.front(), tensor->shape.back());
  }
  return group;
}

// Bytes are those of the source's tensors.
void refuse_added_head(const ModelTensors& tensors, const ModelConfig& config, const Transform& transform) {
  if (!transform.folds() || !config.tied_embedding ||
      !fold_rotations(tensors, config.tied_embedding).rotates_inputs("head", Network::kBegin))
    return;
  throw Error(ErrorKind::unsupported,
              fmt::format("a budget does not count the matrix that {} adds to this model, whose embedding is no longer "
                          "its head then; name the formats, or take hadamard, which adds none",
                          transform.name),
              "transform");
}

// Error(invalid_argument) where none of the formats fits anything.
std::vector<Group> make_groups(const ModelTensors& tensors, const ModelConfig& config,
                               const SensitivityOptions& options) {
  refuse_added_head(tensors, config, options.method.transform);
  std::vector<Group> groups;
  for (std::int64_t i = 0; i < tensors.network().num_layers(); ++i)
    for (const Site& site : tensors.network().layer(i).sites) {
      std::vector<const ModelTensor*> parts;
      for (const std::string& part : site.parts)
        if (const ModelTensor* const tensor = tensors.part(part, i); !is_left(*tensor, options))
          parts.push_back(tensor);
      if (parts.empty()) continue;
      groups.push_back(make_group(parts, options, config.tied_embedding));
    }
  for (const ModelTensor& tensor : tensors.all())
    if (tensor.layer < 0 && !is_left(tensor, options))
      groups.push_back(make_group({&tensor}, options, config.tied_embedding));
  if (groups.empty())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("no matrix of this model can have any of {}: their rows' lengths, or the container, do not "
                            "allow it",
                            fmt::join(options.formats, ", ")),
                "candidates");
  return groups;
}

// As they will be written whatever the rest's formats are.
std::vector<RecipeRule> rules_of_left(const SourceModel& checkpoint, const ModelTensors& tensors,
                                      const SensitivityOptions& options) {
  std::vector<RecipeRule> rules;
  if (options.named_formats.empty()) return rules;  // the container knows which
  for (const ModelTensor& tensor : tensors.all())
    if (!stays_in_float(tensor.role) && is_left(tensor, options))
      rules.push_back({tensor.gguf_name, {}, uncoded_format(checkpoint.stored(tensor))->name(), {}});
  return rules;
}

// What a tensor takes that stays in floating point.
std::uint64_t float_bytes(const SourceModel& checkpoint, const ModelTensor& tensor, std::uint64_t elements) {
  if (tensor.role == TensorRole::exact) return checkpoint.stored(tensor).bytes;
  if (stays_in_float(tensor.role)) return elements * sizeof(float);
  return plane_bytes(*uncoded_format(checkpoint.stored(tensor)), tensor.shape.front(), tensor.shape.back());
}

void count_parameters(const SourceModel& checkpoint, const ModelTensors& tensors, const SensitivityOptions& options,
                      Sensitivities& result) {
  for (const ModelTensor& tensor : tensors.all()) {
    std::uint64_t elements = 1;
    for (const std::uint64_t extent : tensor.shape) elements *= extent;
    result.parameters += elements;
    if (is_left(tensor, options)) result.fixed_bytes += float_bytes(checkpoint, tensor, elements);
  }
}

}  // namespace

Recipe require_reachable(const SourceModel& checkpoint, const SensitivityOptions& options, const Budget& budget) {
  const ModelConfig& config = checkpoint.config();
  const ModelTensors& tensors = checkpoint.parts();
  Sensitivities untried;
  for (Group& group : make_groups(tensors, config, options)) untried.items.push_back(std::move(group.item));
  untried.left = rules_of_left(checkpoint, tensors, options);
  count_parameters(checkpoint, tensors, options, untried);
  return solve_recipe(untried, budget).recipe;
}

std::vector<FormatPtr> candidate_formats(const SensitivityOptions& options, std::uint64_t cols,
                                         std::span<const ModelTensor* const> tensors) {
  std::vector<FormatPtr> formats;
  bool all_fit = true;
  const auto is_refused = [&](const FormatPtr& format) {
    return options.is_refused &&
           std::ranges::any_of(tensors, [&](const auto* tensor) { return options.is_refused(*tensor, format); });
  };
  const auto add = [&](const std::string& name) {
    FormatPtr format = find_format(name);
    const bool fits = cols % format->info().row_multiple == 0 && !is_refused(format);
    if (fits) formats.push_back(std::move(format));
    return fits;
  };
  for (const std::string& name : options.formats) all_fit = add(name) && all_fit;
  for (const std::string& name : options.other_formats)
    if (!all_fit) add(name);
  if (formats.empty()) formats.push_back(fallback_format(find_format(options.formats.front()), cols));
  std::erase_if(formats, is_refused);
  std::ranges::stable_sort(formats, {}, [](const FormatPtr& format) { return format->info().bits_per_weight; });
  return formats;
}

double interpolated_loss(std::span<const MeasuredLoss> measured, double error) {
  const auto in_proportion = [error](const MeasuredLoss& from) {
    return from.error > 0 ? from.loss * error / from.error : from.loss;
  };
  if (error >= measured.front().error) return in_proportion(measured.front());
  for (std::size_t i = 1; i < measured.size(); ++i) {
    const MeasuredLoss &coarse = measured[i - 1], &fine = measured[i];
    if (error < fine.error) continue;
    if (!(coarse.loss > 0 && fine.loss > 0 && fine.error > 0 && coarse.error > fine.error))
      return std::max(coarse.loss, fine.loss);
    const double share = std::log(error / fine.error) / std::log(coarse.error / fine.error);
    return fine.loss * std::pow(coarse.loss / fine.loss, share);
  }
  return in_proportion(measured.back());
}

struct SensitivityProbe::State {
  State(const SourceModel& checkpoint, CalibrationTokens scored_windows, CalibrationTokens calibration_windows,
        const SensitivityOptions& chosen, Machine& machine)
      : options(chosen),
        scored(std::move(scored_windows)),
        calibration(std::move(calibration_windows)),
        walk(checkpoint, scored, calibration,
             {.method = chosen.method,
              .walk = chosen.walk,
              .kernels = chosen.kernels,
              .spill_directory = chosen.spill_directory},
             machine),
        pool(machine.pool) {}

  Trial trial_of(const Recipe& recipe) const {
    Trial trial;
    for (const ModelTensor& tensor : walk.tensors().all()) {
      if (is_left(tensor, options)) continue;
      // What stays in floating point counts as unchanged.
      const FormatPtr format = format_of(recipe, tensor);
      if (format->info().kind != FormatKind::raw && format->name() != source_format(tensor)->name())
        trial.formats[tensor.gguf_name] = format;
    }
    return trial;
  }
  FormatPtr format_of(const Recipe& recipe, const ModelTensor& tensor) const {
    const Assignment assignment = assign(recipe, tensor_facts(tensor, walk.config()), source_format(tensor));
    return assignment.format ? assignment.format : source_format(tensor);
  }
  FormatPtr source_format(const ModelTensor& tensor) const { return walk.checkpoint().stored(tensor).values.format(); }
  void measure(std::vector<Group>& groups, bool is_first, ProgressMeter& meter);

  SensitivityOptions options;
  CalibrationTokens scored, calibration;
  TrialWalk walk;
  ThreadPool& pool;
};

// Measures the next candidate of each group that wants one.
void SensitivityProbe::State::measure(std::vector<Group>& groups, bool is_first, ProgressMeter& meter) {
  std::vector<Trial> trials;
  std::vector<std::pair<std::size_t, std::size_t>> probes;  // group, candidate
  std::map<std::string, std::size_t, std::less<>> group_of;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    group_of[groups[g].item.tensors.front()] = g;
    const std::optional<std::size_t> next = groups[g].next();
    if (!next) continue;
    Trial& trial = trials.emplace_back();
    for (const std::string& tensor : groups[g].item.tensors) trial.formats[tensor] = groups[g].formats[*next];
    probes.emplace_back(g, *next);
  }
  const SiteVisitor errors = [&](const std::vector<const ModelTensor*>& tensors, SiteRounding& rounding) {
    const auto known = group_of.find(tensors.front()->gguf_name);
    if (known == group_of.end()) return;  // a router
    Group& group = groups[known->second];
    for (std::size_t f = 0; f < group.formats.size(); ++f)
      for (std::size_t i = 0; i < rounding.count(); ++i) group.errors[f] += rounding.error(i, group.formats[f]);
  };
  if (trials.empty()) return;
  const std::vector<double> losses = walk.run(trials, is_first ? errors : SiteVisitor{}, &meter);
  for (std::size_t p = 0; p < probes.size(); ++p) {
    const auto [g, f] = probes[p];
    groups[g].measured.push_back({groups[g].errors[f], losses[p]});
  }
}

SensitivityProbe::SensitivityProbe(const SourceModel& checkpoint, const CalibrationTokens& scored,
                                   const CalibrationTokens& calibration, const SensitivityOptions& options,
                                   Machine& machine)
    : state_(std::make_unique<State>(checkpoint, scored, calibration, options, machine)) {}

SensitivityProbe::SensitivityProbe(const SourceModel& checkpoint, std::span<const CalibrationText> texts,
                                   const SensitivityOptions& options, Machine& machine)
    : SensitivityProbe(checkpoint, windows_of(checkpoint, texts, options.sampling),
                       options.method.needs() == Needs::nothing ? CalibrationTokens{}
                                                                : windows_of(checkpoint, texts, options.calibration),
                       options, machine) {}

SensitivityProbe::~SensitivityProbe() = default;

Sensitivities SensitivityProbe::measure() {
  State& state = *state_;
  const ModelTensors& tensors = state.walk.tensors();
  std::vector<Group> groups = make_groups(tensors, state.walk.config(), state.options);

  Sensitivities result;
  for (int round = 0; round < kMostRounds; ++round) {
    if (std::ranges::none_of(groups, [](const Group& group) { return group.next().has_value(); })) break;
    ProgressMeter meter(state.options.progress, "sensitivity", state.walk.layers_of_run());
    const auto watch = meter.watch(state.pool);
    state.measure(groups, round == 0, meter);
  }
  for (Group& group : groups) {
    result.probes += group.measured.size();
    for (std::size_t f = 0; f < group.formats.size(); ++f)
      group.item.candidates[f].loss = group.errors[f] > 0 ? interpolated_loss(group.measured, group.errors[f]) : 0;
    result.items.push_back(std::move(group.item));
  }
  result.left = rules_of_left(state.walk.checkpoint(), tensors, state.options);
  count_parameters(state.walk.checkpoint(), tensors, state.options, result);
  return result;
}

std::vector<double> SensitivityProbe::divergences(const std::vector<Recipe>& recipes) {
  std::vector<Trial> trials;
  for (const Recipe& recipe : recipes) trials.push_back(state_->trial_of(recipe));
  ProgressMeter meter(state_->options.progress, "mixes", state_->walk.layers_of_run());
  const auto watch = meter.watch(state_->pool);
  return state_->walk.run(trials, {}, &meter);
}

std::uint64_t SensitivityProbe::bytes_of(const Recipe& recipe) const {
  std::uint64_t bytes = 0;
  for (const ModelTensor& tensor : state_->walk.tensors().all()) {
    const std::uint64_t rows = tensor.shape.size() > 1 ? tensor.shape.front() : 1, cols = tensor.shape.back();
    bytes += is_left(tensor, state_->options) ? float_bytes(state_->walk.checkpoint(), tensor, rows * cols)
                                              : plane_bytes(*state_->format_of(recipe, tensor), rows, cols);
  }
  return bytes;
}

bool SensitivityProbe::has_usual_candidates() const { return !state_->options.is_refused; }

std::vector<Recipe> SensitivityProbe::single_formats() const {
  const State& state = *state_;
  const std::vector<Group> groups = make_groups(state.walk.tensors(), state.walk.config(), state.options);
  const std::vector<RecipeRule> left = rules_of_left(state.walk.checkpoint(), state.walk.tensors(), state.options);
  std::vector<Recipe> recipes;
  for (const std::string& spelling : state.options.formats) {
    const FormatPtr wanted = find_format(spelling);
    const std::string name = wanted->name();
    const double bits = wanted->info().bits_per_weight;
    Recipe recipe{.name = name, .description = {}, .main_format = name, .rules = {}, .file_type = {}};
    for (const Group& group : groups) {  // whose candidates are sorted by bits
      const auto own = std::ranges::find(group.formats, name, [](const FormatPtr& format) { return format->name(); });
      const auto larger = std::ranges::find_if(
          group.formats, [&](const FormatPtr& format) { return format->info().bits_per_weight >= bits; });
      const FormatPtr& format = own != group.formats.end()      ? *own
                                : larger != group.formats.end() ? *larger
                                                                : group.formats.back();
      for (const std::string& tensor : group.item.tensors) recipe.rules.push_back({tensor, {}, format->name(), {}});
    }
    recipe.rules.insert(recipe.rules.end(), left.begin(), left.end());
    recipe.rules.push_back({"*", {}, name, {}});
    recipes.push_back(std::move(recipe));
  }
  return recipes;
}

bool SensitivityProbe::are_alike(const Recipe& a, const Recipe& b) const {
  return std::ranges::all_of(state_->walk.tensors().all(), [&](const ModelTensor& tensor) {
    return is_left(tensor, state_->options) ||
           state_->format_of(a, tensor)->name() == state_->format_of(b, tensor)->name();
  });
}

Sensitivities measure_sensitivities(const SourceModel& checkpoint, std::span<const CalibrationText> texts,
                                    const SensitivityOptions& options, Machine& machine) {
  return SensitivityProbe(checkpoint, texts, options, machine).measure();
}

SolvedRecipe solve_recipe(const Sensitivities& sensitivities, const Budget& budget) {
  const auto bits = [&](std::uint64_t bytes) {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(sensitivities.parameters);
  };
  std::uint64_t least = sensitivities.fixed_bytes;
  double best = 0;
  for (const BudgetItem& item : sensitivities.items) {
    least += std::ranges::min_element(item.candidates, {}, &BudgetCandidate::bytes)->bytes;
    best += std::ranges::min_element(item.candidates, {}, &BudgetCandidate::loss)->loss;
  }
  std::vector<std::size_t> choice;
  if (budget.max_kl) {
    choice = solve_loss(sensitivities.items, *budget.max_kl);
    if (choice.empty())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("no mix of these formats loses so little; the least is {:.5f} nats, asked for {:.5f}",
                              best, *budget.max_kl));
  } else {
    const double wanted = budget.bytes
                              ? static_cast<double>(*budget.bytes)
                              : budget.bits_per_weight.value_or(0) * static_cast<double>(sensitivities.parameters) / 8;
    const auto bytes = static_cast<std::uint64_t>(std::max(0.0, wanted));
    if (bytes > sensitivities.fixed_bytes)
      choice = solve_budget(sensitivities.items, bytes - sensitivities.fixed_bytes);
    if (choice.empty())
      throw Error(
          ErrorKind::invalid_argument,
          fmt::format("no mix of these formats is so small; the smallest takes {} bytes, {:.3f} bits per weight, "
                      "asked for {} bytes",
                      least, bits(least), bytes));
  }
  SolvedRecipe solved;
  solved.bytes = sensitivities.fixed_bytes + bytes_of(sensitivities.items, choice);
  solved.bits_per_weight = bits(solved.bytes);
  solved.expected_kl = loss_of(sensitivities.items, choice);
  solved.recipe.name = fmt::format("solved-{:.2f}", solved.bits_per_weight);
  solved.recipe.description = fmt::format("solved for {:.3f} bits per weight, expected divergence {:.5f} nats",
                                          solved.bits_per_weight, solved.expected_kl);
  std::map<std::string, std::uint64_t> bytes_by_format;
  for (std::size_t i = 0; i < choice.size(); ++i) {
    const BudgetItem& item = sensitivities.items[i];
    const BudgetCandidate& chosen = item.candidates[choice[i]];
    bytes_by_format[chosen.format] += chosen.bytes;
    for (const std::string& tensor : item.tensors) solved.recipe.rules.push_back({tensor, {}, chosen.format, {}});
  }
  solved.recipe.main_format =
      std::ranges::max_element(bytes_by_format, {}, [](const auto& entry) { return entry.second; })->first;
  solved.recipe.rules.insert(solved.recipe.rules.end(), sensitivities.left.begin(), sensitivities.left.end());
  solved.recipe.rules.push_back({"*", {}, solved.recipe.main_format, {}});
  return solved;
}

}  // namespace nibble
