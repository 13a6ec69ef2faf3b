// SPDX-License-Identifier: Apache-2.0
#include "nibble/quantize.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <utility>

#include "arrays.h"
#include "fields.h"
#include "named_values.h"
#include "nibble/calibrate.h"
#include "parts.h"
#include "text_caster.h"
#include "verdict_fields.h"
#include "watch.h"

namespace nibble::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr Choice<WalkArithmetic> kWalks[] = {
    {"automatic", WalkArithmetic::automatic}, {"f32", WalkArithmetic::f32}, {"int8", WalkArithmetic::int8}};
constexpr Choice<StatisticsNeed> kNeeds[] = {{"none", StatisticsNeed::none},
                                             {"mean_squares", StatisticsNeed::mean_squares},
                                             {"second_moments", StatisticsNeed::second_moments}};
constexpr Choice<Obstacle> kObstacles[] = {
    {"none", Obstacle::none}, {"row_length", Obstacle::row_length}, {"magnitude", Obstacle::magnitude}};

SamplingOptions sampling_of(const Fields& options) {
  SamplingOptions sampling;
  read_field(options, "samples", sampling.samples);
  read_field(options, "length", sampling.length);
  read_field(options, "sampling_seed", sampling.seed);
  read_field(options, "parse_special", sampling.parse_special);
  return sampling;
}

// --- calibration -----------------------------------------------------------------------------------------------------

Fields to_fields(const SiteAdequacy& site) {
  Fields fields;
  fields["site"] = site.site;
  fields["expert"] = site.expert >= 0 ? nb::cast(site.expert) : nb::none();
  fields["count"] = site.count;
  fields["width"] = site.width;
  fields["vectors_per_column"] = site.vectors_per_column;
  fields["effective_rank"] = site.effective_rank;
  fields["condition"] = site.condition;
  fields["dead_columns"] = site.dead_columns;
  fields["peak_ratio"] = site.peak_ratio;
  fields["warning"] = site.warning;
  return fields;
}

// The statistics, the sites that they are of, and warnings.
nb::typed<nb::tuple, CalibrationStatistics, nb::typed<nb::list, Fields>, nb::typed<nb::list, nb::str>> calibrate(
    const Model& model, const Texts& texts, const Fields& options, nb::object progress) {
  Watch watch(std::move(progress));
  CalibrateRequest request;
  request.sampling = sampling_of(options);
  read_field(options, "second_moments", request.second_moments);
  read_choice(options, "arithmetic", kWalks, request.arithmetic);
  read_field(options, "spill_directory", request.spill_directory);
  request.machine = machine_options(options);
  request.progress = watch.progress();
  Calibrated seen = watch.run([&] { return nibble::calibrate(model, named_texts(texts), request); });
  nb::list sites;
  for (const SiteAdequacy& site : seen.sites) sites.append(to_fields(site));
  return nb::make_tuple(std::move(seen.statistics), sites, seen.warnings);
}

void bind_statistics(nb::module_& module) {
  nb::class_<CalibrationStatistics>(module, "CalibrationStatistics")
      .def("texts", &CalibrationStatistics::texts)
      .def("samples", &CalibrationStatistics::samples)
      .def("length", &CalibrationStatistics::length)
      .def("sites", &CalibrationStatistics::sites)
      .def("has_second_moments", &CalibrationStatistics::has_second_moments)
      .def(
          "mean_squares",
          [](const CalibrationStatistics& statistics, std::string_view site) {
            return to_numpy(std::vector<float>(statistics.mean_squares(site)));
          },
          "site"_a);
  module.def("calibrate", &calibrate, "model"_a, "texts"_a, "options"_a, "progress"_a.none());
  module.def("save_statistics", &save_statistics, "statistics"_a, "model"_a, "path"_a,
             nb::sig("def save_statistics(statistics: CalibrationStatistics, model: Model, "
                     "path: str | os.PathLike[str]) -> None"),
             nb::call_guard<nb::gil_scoped_release>());
  module.def("load_statistics", &load_statistics, "path"_a, "model"_a,
             nb::sig("def load_statistics(path: str | os.PathLike[str], model: Model) -> CalibrationStatistics"),
             nb::call_guard<nb::gil_scoped_release>());
}

// --- quantization ----------------------------------------------------------------------------------------------------

QuantizeRequest quantize_request(const Fields& options) {
  QuantizeRequest request;
  read_field(options, "format", request.format);
  read_field(options, "recipe", request.recipe);
  read_field(options, "bits_per_weight", request.budget.bits_per_weight);
  read_field(options, "max_bytes", request.budget.bytes);
  read_field(options, "max_kl", request.budget.max_kl);
  read_field(options, "output", request.output);
  read_field(options, "container", request.container);
  read_field(options, "method", request.method);
  read_field(options, "fit", request.fit);
  read_field(options, "transform", request.transform);
  read_field(options, "round", request.round);
  read_field(options, "smoothquant_alpha", request.smoothquant_alpha);
  read_field(options, "steps", request.learning.steps);
  read_field(options, "batch", request.learning.batch);
  read_field(options, "rate", request.learning.rate);
  read_field(options, "activation_fit", request.activation_fit);
  read_field(options, "include", request.include);
  read_field(options, "exclude", request.exclude);
  read_field(options, "embedding", request.embedding);
  read_field(options, "head", request.head);
  request.calibration.sampling = sampling_of(options);
  read_choice(options, "calibration_arithmetic", kWalks, request.calibration.arithmetic);
  read_field(options, "spill_directory", request.calibration.spill_directory);
  read_field(options, "split_windows", request.verify.split_windows);
  std::string requirements;
  read_field(options, "accept", requirements);
  if (!requirements.empty()) request.verify.requirements = read_requirements(requirements);
  read_field(options, "allow_requantize", request.allow_requantize);
  read_field(options, "strict", request.strict);
  read_field(options, "dry_run", request.dry_run);
  read_field(options, "sync", request.sync);
  request.machine = machine_options(options);
  return request;
}

Fields to_fields(const TensorSummary& tensor) {
  Fields fields;
  fields["name"] = tensor.name;
  fields["rows"] = tensor.rows;
  fields["cols"] = tensor.cols;
  fields["from"] = tensor.source_format;
  fields["format"] = tensor.format;
  fields["bytes"] = tensor.bytes;
  if (!tensor.wanted.empty()) {
    fields["wanted"] = tensor.wanted;
    fields["obstacle"] = spelling_of(tensor.obstacle, kObstacles);
  }
  fields["kind"] = tensor.kind;
  if (tensor.error) {
    Fields error;
    error["nearest"] = tensor.error->nearest;
    error["stored"] = tensor.error->stored;
    fields["error"] = error;
  }
  return fields;
}

nb::list learnt_list(const std::vector<LearntLayer>& layers) {
  nb::list list;
  for (const LearntLayer& layer : layers) {
    Fields fields;
    fields["layer"] = layer.layer;
    fields["before"] = layer.before;
    fields["after"] = layer.after;
    fields["kept_step"] = layer.kept_step;
    list.append(fields);
  }
  return list;
}

Fields to_fields(const QuantizeSummary& summary) {
  Fields fields;
  fields["output"] = file_name_of(summary.output.string());
  fields["recipe"] = summary.recipe;
  fields["activations"] = summary.activations;
  fields["parameters"] = summary.parameters;
  fields["source_bytes"] = summary.source_bytes;
  fields["tensor_bytes"] = summary.tensor_bytes;
  fields["output_bytes"] = summary.output_bytes;
  fields["bits_per_weight"] = summary.bits_per_weight;
  fields["linear_bits_per_weight"] = summary.linear_bits_per_weight;
  fields["source_xxh3"] = summary.source_hash;
  fields["substitutions"] = summary.substitutions;
  fields["substituted_parameters"] = summary.substituted_parameters;
  fields["ignored"] = summary.ignored;
  fields["uninformed"] = summary.uninformed;
  fields["warnings"] = summary.warnings;
  fields["notes"] = summary.notes;
  fields["learnt"] = learnt_list(summary.learnt);
  fields["unlearnt"] = summary.unlearnt;
  nb::list tensors;
  for (const TensorSummary& tensor : summary.tensors) tensors.append(to_fields(tensor));
  fields["tensors"] = tensors;
  return fields;
}

Fields to_fields(const BudgetAttempt& attempt) {
  Fields fields;
  fields["bits_per_weight"] = attempt.bits_per_weight;
  fields["output_bytes"] = attempt.output_bytes;
  fields["expected_kl"] = attempt.expected_kl;
  fields["kl"] = python::to_fields(attempt.kl);
  fields["accepted"] = attempt.accepted;
  return fields;
}

Fields to_fields(const Quantized& quantized) {
  Fields fields = to_fields(quantized.summary);
  fields["rules"] = quantized.recipe;
  fields["written"] = quantized.written;
  fields["substituted"] = quantized.substitutions_text;
  if (quantized.acceptance) fields["acceptance"] = python::to_fields(*quantized.acceptance);
  nb::list attempts;
  for (const BudgetAttempt& attempt : quantized.attempts) attempts.append(to_fields(attempt));
  if (!quantized.attempts.empty()) fields["attempts"] = attempts;
  return fields;
}

// What was done, and the verdict where there is one. statistics: None, or in place of texts.
nb::typed<nb::tuple, Fields, std::optional<PairedVerdict>> quantize(const Model& model, const Fields& options,
                                                                    const CalibrationStatistics* statistics,
                                                                    const Texts& calibration, const Texts& verify,
                                                                    nb::object progress) {
  Watch watch(std::move(progress));
  QuantizeRequest request = quantize_request(options);
  if (statistics != nullptr) request.calibration.statistics = *statistics;
  request.calibration.texts = named_texts(calibration);
  request.verify.texts = named_texts(verify);
  request.progress = watch.progress();
  const Quantized made = watch.run([&] { return nibble::quantize(model, request); });
  return nb::make_tuple(to_fields(made), made.verdict);
}

template <typename Description>
nb::typed<nb::list, Fields> list_of(const std::vector<Description>& descriptions) {
  nb::typed<nb::list, Fields> list;
  for (const Description& description : descriptions) {
    Fields fields;
    fields["name"] = description.name;
    fields["description"] = description.description;
    if constexpr (requires { description.need; }) fields["need"] = spelling_of(description.need, kNeeds);
    list.append(fields);
  }
  return list;
}

}  // namespace

void bind_quantization(nb::module_& module) {
  bind_statistics(module);
  module.def("quantize", &quantize, "model"_a, "options"_a, "statistics"_a.none(), "calibration"_a, "verify"_a,
             "progress"_a.none());
  module.def("recipe_json", &recipe_json, "format"_a);
  module.def("list_methods", [] { return list_of(list_method_descriptions()); });
  module.def("list_fits", [] { return list_of(list_fit_descriptions()); });
  module.def("list_containers", [] { return list_of(list_container_descriptions()); });
}

}  // namespace nibble::python
