// SPDX-License-Identifier: Apache-2.0
#include "pipeline/activation_plan.h"

#include <algorithm>

#include "calibrate/calibrate.h"
#include "calibrate/imatrix_file.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "quantize/fit/activation_fit.h"

namespace nibble {
namespace {

bool is_quantized(const TensorPlan& tensor) { return tensor.target.format->info().kind != FormatKind::raw; }

Statistics walk_text(const Checkpoint& source, const QuantizePlan& plan, const Calibration& calibration, ThreadPool& pool,
                     const ProgressCallback& progress) {
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(source);
  const CalibrationTokens tokens = choose_windows(calibration.texts, tokenizer, calibration.sampling, plan.config.context);
  const CollectOptions collect{.kernels = calibration.kernels,
                               .arithmetic = calibration.walk,
                               .spill_directory = calibration.spill_directory,
                               .progress = progress};
  return collect_statistics(source, tokens, collect, pool);
}

}  // namespace

bool moves_activations(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  return std::ranges::any_of(plan.tensors, [&](const TensorPlan& tensor) {
    return is_quantized(tensor) && method_for(tensor, options).transform.rule != Transform::Rule::none;
  });
}

StoredActivations plan_activations(const Checkpoint& source, const QuantizePlan& plan, const QuantizeModelOptions& options, ThreadPool& pool,
                                   const ProgressCallback& progress) {
  StoredActivations result;
  if (!options.activations) return result;
  if (std::ranges::none_of(plan.tensors, is_quantized))
    throw Error(ErrorKind::invalid_argument,
                "inputs are rounded where weights are quantized, and none are here; put the plus behind a format of such weights, as in "
                "'int8:row+a8'; weights here are: " +
                    plan.recipe.name);
  result.format = options.activations->format;
  if (!result.format->is_static()) return result;
  Statistics walked;
  if (options.calibration.statistics == nullptr) walked = walk_text(source, plan, options.calibration, pool, progress);
  const Statistics& statistics = options.calibration.statistics != nullptr ? *options.calibration.statistics : walked;
  const ModelTensors tensors(plan.config);
  for (const SiteStatistics& site : statistics.sites) {
    const ActivationGrid grid = fit_activation_grid(site, *result.format, options.activations->fit);
    for (const ModelTensor* const tensor : tensors_of_site(tensors, site)) {
      const auto planned = std::ranges::find(plan.tensors, tensor->name(plan.target_spelling), [](const TensorPlan& t) { return t.target.name; });
      if (planned != plan.tensors.end() && is_quantized(*planned)) result.grids.emplace(planned->target.name, grid);
    }
  }
  return result;
}

}  // namespace nibble
