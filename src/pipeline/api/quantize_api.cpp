// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "nibble/formats.h"
#include "nibble/quantize.h"
#include "pipeline/api/model_state.h"
#include "pipeline/quantize/quantize_model.h"

namespace nibble {

Quantized quantize(const Model& model, const QuantizeRequest& request) {
  QuantizeModelOptions options;
  choose_format(options, request.format);
  options.method = request.method;
  options.embedding = request.embedding;
  options.head = request.head;
  options.output = request.output;
  options.allow_requantize = request.allow_requantize;
  options.strict = request.strict;
  Machine machine = make_machine(request.machine);
  QuantizeSummary summary = quantize_model(model.state().checkpoint, options, machine, request.progress);
  summary.notes.insert(summary.notes.end(), summary.warnings.begin(), summary.warnings.end());
  return {summary.output,
          summary.output_bytes,
          summary.source_bytes,
          summary.bits_per_weight,
          summary.linear_bits_per_weight,
          summary.substitutions,
          describe_substitutions(summary),
          summary.notes};
}

std::vector<FormatDescription> list_format_descriptions() {
  std::vector<FormatDescription> result;
  for (const FormatPtr& format : list_formats()) {
    const FormatInfo& info = format->info();
    const FormatGroup group = info.kind == FormatKind::raw     ? FormatGroup::raw
                              : info.kind == FormatKind::block ? FormatGroup::block
                                                               : FormatGroup::planar;
    result.push_back({info.name, info.description, group, info.bits_per_weight});
  }
  for (const MixInfo& mix : list_mixes()) {
    const bool shares_name =
        std::any_of(result.begin(), result.end(), [&](const FormatDescription& f) { return f.name == mix.name; });
    result.push_back(
        {(shares_name ? "mix:" : "") + std::string(mix.name), std::string(mix.description), FormatGroup::mix, 0});
  }
  return result;
}

}  // namespace nibble
