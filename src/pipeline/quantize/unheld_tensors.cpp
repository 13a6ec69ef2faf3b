// SPDX-License-Identifier: Apache-2.0
//
// Tensors whose magnitude the scales of their planned format cannot hold.
#include <fmt/format.h>

#include <optional>
#include <vector>

#include "nibble/error.h"
#include "pipeline/quantize/quantize_plan.h"
#include "quantize/held_magnitude.h"

namespace nibble {
namespace {

bool may_be_unheld(const TensorPlan& tensor) {
  const std::string& wanted = tensor.target.format->name();
  return !stays_in_float(tensor.role) && wanted != "f32" && wanted != tensor.source->values.format()->name();
}

struct Judged {
  FormatPtr held;
  float largest = 0;
};

Judged judge_magnitude(const TensorPlan& tensor, const SourceSurvey& survey, const QuantizeModelOptions& options,
                       Isa isa) {
  const auto peak = survey.peaks.find(tensor.source);
  const MagnitudeSample sample(tensor.source->values,
                               peak != survey.peaks.end() ? std::optional(peak->second) : std::nullopt, isa);
  return {held_format(tensor.target.format, sample, method_for(tensor, options).fit, tensor.cols), sample.largest()};
}

void substitute(TensorPlan& tensor, const Judged& judged, bool strict) {
  const FormatPtr wanted = tensor.target.format;
  // A half that overflows is refused where it is written, by its position.
  if (wanted->name() == "f16" && static_cast<double>(judged.largest) > wanted->info().max_magnitude) return;
  if (strict)
    throw Error(ErrorKind::unsupported,
                fmt::format("{} cannot hold tensor '{}', whose weights are too large or too small for its scales; the "
                            "largest magnitude is "
                            "{:.3g}",
                            wanted->name(), tensor.target.name, judged.largest),
                "strict");
  if (tensor.wanted.empty()) tensor.wanted = wanted->name();
  tensor.obstacle = Obstacle::magnitude;
  tensor.target.format = judged.held;
}

// Experts of one stack have one format: what holds the most of them.
void join_stacks(QuantizePlan& plan) {
  for (std::size_t begin = 0, end = 0; begin < plan.tensors.size(); begin = end) {
    const TensorPlan* most = &plan.tensors[begin];
    for (end = begin; end < plan.tensors.size() && plan.tensors[end].target.name == plan.tensors[begin].target.name;
         ++end)
      if (plan.tensors[end].target.format->info().bits_per_weight > most->target.format->info().bits_per_weight)
        most = &plan.tensors[end];
    for (std::size_t i = begin; i < end; ++i) {
      if (plan.tensors[i].target.format->name() == most->target.format->name()) continue;
      plan.tensors[i].wanted = most->wanted;
      plan.tensors[i].obstacle = most->obstacle;
      plan.tensors[i].target.format = most->target.format;
    }
  }
}

}  // namespace

std::vector<const StoredTensor*> peaks_to_find(const QuantizePlan& plan) {
  std::vector<const StoredTensor*> tensors;
  for (const TensorPlan& tensor : plan.tensors)
    if (may_be_unheld(tensor) && needs_peak(*tensor.source->values.format(), *tensor.target.format))
      tensors.push_back(tensor.source);
  return tensors;
}

void substitute_unheld(QuantizePlan& plan, const SourceModel& source, const SourceSurvey& survey,
                       const QuantizeModelOptions& options, Machine& machine) {
  std::vector<Judged> judged(plan.tensors.size());
  machine.pool.parallel_for(plan.tensors.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      if (!may_be_unheld(plan.tensors[i])) continue;
      judged[i] = judge_magnitude(plan.tensors[i], survey, options, machine.isa);
      source.release(*plan.tensors[i].source);
    }
  });
  for (std::size_t i = 0; i < judged.size(); ++i)
    if (judged[i].held && judged[i].held->name() != plan.tensors[i].target.format->name())
      substitute(plan.tensors[i], judged[i], options.strict);
  join_stacks(plan);
}

}  // namespace nibble
