// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/activation_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "calibrate/adequacy.h"
#include "calibrate/calibrate.h"
#include "calibrate/imatrix_file.h"
#include "kernels/linear/integer_form.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "quantize/fit/activation_fit.h"
#include "quantize/pooled_moment.h"

namespace nibble {
namespace {

bool is_quantized(const TensorPlan& tensor) { return tensor.target.format->info().kind != FormatKind::raw; }

// How a tensor's inputs are rotated before they are rounded; null: not at all.
const ChannelTransform* rotation_of(const TensorPlan& tensor) {
  const TensorParts* const parts = tensor.target.parts.get();
  return parts == nullptr || parts->input_transform.empty() ? nullptr : &parts->input_transform;
}

// The same of a site, by the first of its Linears that are quantized.
const ChannelTransform* rotation_of(const SiteKey& site, const QuantizePlan& plan, const ModelTensors& tensors) {
  for (const ModelTensor* const part : tensors_of_site(tensors, site))
    if (const TensorPlan& tensor = plan.tensors[static_cast<std::size_t>(part - tensors.all().data())];
        is_quantized(tensor))
      return rotation_of(tensor);
  return nullptr;
}

Statistics walk_text(const SourceModel& source, const QuantizePlan& plan, const ModelTensors& tensors,
                     const Calibration& calibration, Machine& machine, const ProgressCallback& progress,
                     std::vector<std::string>& warnings) {
  const Tokenizer& tokenizer = source.tokenizer();
  const CalibrationTokens tokens =
      choose_windows(calibration.texts, tokenizer, calibration.sampling, plan.config.context);
  const CollectOptions collect{.kernels = calibration.kernels,
                               .arithmetic = calibration.walk,
                               .rotation = [&](const SiteKey& site) { return rotation_of(site, plan, tensors); },
                               .spill_directory = calibration.spill_directory,
                               .progress = progress};
  Statistics statistics = collect_statistics(source, tokens, collect, machine);
  warnings = statistics_warnings(statistics);
  if (const std::string shortage = shortage_warning(tokens); !shortage.empty())
    warnings.insert(warnings.begin(), shortage);
  return statistics;
}

// Rounded inputs are multiplied with integers; weights in formats that have none stay with inputs in f32.
std::vector<std::string> formats_in_f32(const QuantizePlan& plan) {
  std::set<std::string> names;
  for (const TensorPlan& tensor : plan.tensors)
    if (is_quantized(tensor) && tensor.role == TensorRole::linear && !integer_form(*tensor.target.format, tensor.cols))
      names.insert(tensor.target.format->name());
  return {names.begin(), names.end()};
}

bool any_in_integers(const QuantizePlan& plan) {
  return std::ranges::any_of(plan.tensors, [](const TensorPlan& tensor) {
    return is_quantized(tensor) && tensor.role != TensorRole::norm &&
           integer_form(*tensor.target.format, tensor.cols).has_value();
  });
}

// Of each site of experts, what all of them saw, without second moments.
std::map<SiteKey, SiteStatistics> pooled_ranges(const Statistics& statistics) {
  std::map<SiteKey, std::vector<SiteStatistics>> experts;
  for (const SiteStatistics& site : statistics.sites) {
    if (site.expert < 0) continue;
    SiteStatistics& kept = experts[{site.layer, site.site}].emplace_back();
    static_cast<SiteKey&>(kept) = site;
    kept.count = site.count;
    kept.mean_square = site.mean_square;
    kept.absmax = site.absmax;
    kept.histogram = site.histogram;
    kept.negatives = site.negatives;
    kept.lowest = site.lowest;
    kept.highest = site.highest;
  }
  std::map<SiteKey, SiteStatistics> pooled;
  for (const auto& [key, all] : experts) {
    std::vector<const SiteStatistics*> seen;
    for (const SiteStatistics& expert : all) seen.push_back(&expert);
    pooled.emplace(key, pool_experts(seen));
  }
  return pooled;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// The source's, by the output's names. Experts of one stack have one.
void keep_grids(const StoredActivations& source, const QuantizePlan& plan, StoredActivations& result) {
  for (const TensorPlan& tensor : plan.tensors) {
    const ActivationGrid* const grid = is_quantized(tensor) ? source.find(tensor.source->name) : nullptr;
    if (grid == nullptr) continue;
    const auto [kept, is_new] = result.grids.emplace(tensor.target.name, *grid);
    if (!is_new && kept->second != *grid)
      throw Error(
          ErrorKind::unsupported,
          "experts that lie in one tensor of the output have one grid of their inputs, and here have several: " +
              tensor.target.name);
  }
}

}  // namespace

bool moves_activations(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  return std::ranges::any_of(plan.tensors, [&](const TensorPlan& tensor) {
    return is_quantized(tensor) && method_for(tensor, options).transform.scales();
  });
}

bool fits_grids_afterwards(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  return options.activations && options.activations->format.is_static() && moves_activations(plan, options);
}

ActivationPlan plan_activations(const SourceModel& source, const QuantizePlan& plan,
                                const QuantizeModelOptions& options, Machine& machine,
                                const ProgressCallback& progress) {
  ActivationPlan planned;
  StoredActivations& result = planned.stored;
  if (!options.activations) return planned;
  if (std::ranges::none_of(plan.tensors, is_quantized))
    throw Error(ErrorKind::invalid_argument,
                "inputs are rounded where weights are quantized, and none are here; put the plus behind a format of "
                "such weights, as in "
                "'int8:row+a8'; weights here are: " +
                    plan.recipe.name);
  if (const std::vector<std::string> in_f32 = formats_in_f32(plan); !in_f32.empty()) {
    const std::string names = joined(in_f32);
    if (!any_in_integers(plan))
      throw Error(ErrorKind::invalid_argument,
                  "inputs are rounded where weights are integers on a grid, and these are multiplied in f32; leave the "
                  "plus out, or choose weights "
                  "such as int8:row, int4:g32 or q4_0: " +
                      names);
    planned.warnings.push_back("weights in these formats are multiplied in f32, and their inputs are not rounded: " +
                               names);
  }
  result.format = options.activations->format;
  if (!result.format->is_static()) return planned;
  if (options.activations->grids != nullptr) {
    keep_grids(*options.activations->grids, plan, result);
    return planned;
  }
  for (const TensorPlan& tensor : plan.tensors)
    if (options.calibration.statistics != nullptr && rotation_of(tensor) != nullptr)
      throw Error(
          ErrorKind::invalid_argument,
          "statistics tell ranges of inputs as they come, and these are rotated before they are rounded; static "
          "grids of them ask for text: '" +
              tensor.target.name + "'",
          "texts");
  const ModelTensors tensors(plan.config);
  Statistics walked;
  std::vector<std::string> walk_warnings;
  if (options.calibration.statistics == nullptr)
    walked = walk_text(source, plan, tensors, options.calibration, machine, progress, walk_warnings);
  planned.warnings.insert(planned.warnings.end(), walk_warnings.begin(), walk_warnings.end());
  const Statistics& statistics = options.calibration.statistics != nullptr ? *options.calibration.statistics : walked;
  const std::map<SiteKey, SiteStatistics> pooled = pooled_ranges(statistics);
  std::map<std::string_view, const TensorPlan*> quantized;
  for (const TensorPlan& tensor : plan.tensors)
    if (is_quantized(tensor)) quantized.emplace(tensor.target.name, &tensor);
  for (const SiteStatistics& seen : statistics.sites) {
    // Experts of a stack have one grid, and so have those that no token was sent to.
    const bool is_pooled = seen.expert >= 0 && (seen.count == 0 || plan.target_spelling == Spelling::gguf);
    const SiteStatistics& site = is_pooled ? pooled.at({seen.layer, seen.site}) : seen;
    const ActivationGrid grid = fit_activation_grid(site, *result.format, options.activations->fit);
    // Linears that read the site otherwise than its first one have no grid of it.
    const ChannelTransform* const rotation = rotation_of(seen, plan, tensors);
    for (const ModelTensor* const tensor : tensors_of_site(tensors, seen))
      if (const auto found = quantized.find(tensor->name(plan.target_spelling)); found != quantized.end())
        if (const ChannelTransform* const own = rotation_of(*found->second);
            (own == nullptr) == (rotation == nullptr) && (own == nullptr || *own == *rotation))
          result.grids.emplace(found->first, grid);
  }
  return planned;
}

}  // namespace nibble
