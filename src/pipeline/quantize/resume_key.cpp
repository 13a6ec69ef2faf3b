// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/resume_key.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <nlohmann/json.hpp>

#include "nibble/model.h"
#include "pipeline/quantize/recipe_json.h"
#include "pipeline/quantize/statistics_hash.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

// In each function below the names between [ and ] are all the fields that there are.

Json key_of(const FitOptions& options) {
  const auto& [rule, percentile, row_clip] = options;
  return {static_cast<int>(rule), percentile, row_clip};
}

Json key_of(const ActivationFormat& format) {
  const auto& [grain, is_asymmetric, wide, run] = format;
  return {static_cast<int>(grain), is_asymmetric, static_cast<int>(wide), run};
}

Json key_of(const ActivationChoice& choice) {
  const auto& [format, fit, grids] = choice;
  return {key_of(format), key_of(fit), grids != nullptr};  // a conversion keeps no pieces
}

Json key_of(const KernelOptions& options) {
  const auto& [activations, format, grid] = options;
  const auto& [scale, zero] = grid;
  return {static_cast<int>(activations), key_of(format), scale, zero};
}

Json key_of(const SamplingOptions& options) {
  const auto& [samples, length, seed, parse_special] = options;
  return {samples, length, seed, parse_special};
}

Json key_of(const CalibrationText& given) {
  const auto& [name, text] = given;
  return {name, XXH3_64bits(text.data(), text.size())};
}

// Where things are spilled does not matter.
Json key_of(const Calibration& calibration) {
  const auto& [statistics, texts, sampling, kernels, walk, spill_directory, follow_original, hessian] = calibration;
  Json key = {key_of(sampling), key_of(kernels), static_cast<int>(walk), follow_original, hessian_name(hessian)};
  for (const CalibrationText& text : texts) key.push_back(key_of(text));
  if (statistics != nullptr) key.push_back(statistics_hash(*statistics));
  return key;
}

Json key_of(const LearningOptions& options) {
  const auto& [steps, batch, rate] = options;
  return {steps.value_or(0), batch.value_or(0), rate.value_or(0)};
}

template <class T>
Json optional_key(const std::optional<T>& value) {
  if (!value) return nullptr;
  if constexpr (std::is_arithmetic_v<T>)
    return *value;
  else
    return key_of(*value);
}

// The place of the output, how its graph is written, and what watches, judges or refuses without changing a byte, is
// left out; so is the container's name as it was given, which the output's may stand for.
Json key_of(const QuantizeModelOptions& options) {
  const auto& [recipe, activations, method, fit, transform, round, smoothquant_alpha, learning, include, exclude,
               embedding, head, output, container, onnx, rounded_numbers, distilled, runtime, allow_requantize, strict,
               dry_run, shard_bytes, sync, judge, calibration, on_layer, note] = options;
  return {{"recipe", recipe_to_json(recipe)},
          {"activations", optional_key(activations)},
          {"method", method},
          {"fit", optional_key(fit)},
          {"transform", transform},
          {"round", round},
          {"alpha", optional_key(smoothquant_alpha)},
          {"learning", key_of(learning)},
          {"include", include},
          {"exclude", exclude},
          {"embedding", embedding},
          {"head", head},
          {"calibration", key_of(calibration)}};
}

}  // namespace

std::string resume_key(const QuantizeModelOptions& options, std::string_view container,
                       const std::string& source_hash) {
  return Json{{"nibble", version()}, {"container", container}, {"source", source_hash}, {"options", key_of(options)}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);  // files' names may be any bytes
}

}  // namespace nibble
