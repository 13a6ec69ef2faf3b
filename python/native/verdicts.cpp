// SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <utility>

#include "fields.h"
#include "named_values.h"
#include "nibble/evaluate.h"
#include "parts.h"
#include "text_caster.h"
#include "verdict_fields.h"
#include "watch.h"

namespace nibble::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr Choice<Protocol> kProtocols[] = {{"llama.cpp", Protocol::llama_cpp}, {"paper", Protocol::paper}};

EvaluateRequest evaluate_request(const Fields& options) {
  EvaluateRequest request;
  read_choice(options, "protocol", kProtocols, request.protocol);
  read_field(options, "context", request.context);
  read_field(options, "max_windows", request.max_windows);
  read_field(options, "parse_special", request.parse_special);
  read_field(options, "layers", request.layers);
  read_field(options, "split_windows", request.split_windows);
  request.arithmetic = arithmetic_options(options);
  request.machine = machine_options(options);
  return request;
}

PairedVerdict evaluate(const std::vector<std::pair<std::string, Model>>& candidates, const Model& original,
                       const Texts& texts, const Fields& options, nb::object progress) {
  Watch watch(std::move(progress));
  EvaluateRequest request = evaluate_request(options);
  request.progress = watch.progress();
  std::vector<NamedModel> named;
  for (const auto& [name, model] : candidates) named.push_back({name, model});
  return watch.run([&] { return evaluate_against(named, original, named_texts(texts), request); });
}

}  // namespace

void bind_verdicts(nb::module_& module) {
  nb::class_<PairedVerdict>(module, "PairedVerdict")
      .def("to_dict", [](const PairedVerdict& verdict) { return to_fields(verdict); })
      .def(
          "accept",
          [](const PairedVerdict& verdict, std::size_t candidate, const std::string& requirements) {
            return to_fields(judge_acceptance(verdict, candidate, read_requirements(requirements)));
          },
          "candidate"_a, "requirements"_a);
  module.def("evaluate", &evaluate, "candidates"_a, "original"_a, "texts"_a, "options"_a, "progress"_a.none());
  module.def("list_metrics", [] {
    nb::typed<nb::list, Fields> metrics;
    for (std::size_t i = 0; i < kNumMetrics; ++i) {
      const MetricDescription metric = describe_metric(static_cast<Metric>(i));
      Fields fields;
      fields["key"] = std::string(metric.key);
      fields["title"] = std::string(metric.title);
      fields["meaning"] = std::string(metric.meaning);
      metrics.append(fields);
    }
    return metrics;
  });
}

}  // namespace nibble::python
